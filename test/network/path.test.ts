/** Connections to other brokers over a network that carries nothing any more. */
import assert from 'node:assert/strict'
import { type TestContext, test } from 'node:test'
import { LineProcess } from '../support/line-process.ts'
import { skipWithoutNamespaces, TestNetwork } from '../support/network-namespaces.ts'
import { idleTransport } from '../support/transports.ts'

const skip = skipWithoutNamespaces()
/** Far below what TCP itself waits before it gives up. */
const timeout = 20_000

/** Says where it listens and what has arrived in all, and answers nothing. */
const SERVER = `
let bytes = 0
const server = require('node:net').createServer((socket) => {
  socket.on('error', () => undefined)
  socket.on('data', (chunk) => console.log('got', (bytes += chunk.length)))
})
server.listen(0, '0.0.0.0', () => console.log('port', server.address().port))
`

async function start(t: TestContext) {
  const network = TestNetwork.create(1)
  t.after(() => network.close())
  const node = network.node(0)
  const said = new Map<string, number>()
  const [command = '', ...words] = [...node.prefix, process.execPath, '-e', SERVER]
  const server = new LineProcess(command, words, (line) => {
    const [what = '', value] = line.split(' ')
    said.set(what, Number(value))
  })
  t.after(() => server.kill())
  await server.until(() => said.has('port'))
  const transport = idleTransport()
  t.after(() => transport.destroy())
  const connection = await transport.connect(node.address, said.get('port') as number)
  const cut = (way: 'in' | 'out' | 'both') =>
    node.cut({ from: [{ address: network.hostAddress }], direction: way })
  const arrived = (bytes: number) => server.until(() => said.get('got') === bytes)
  return { connection, cut, arrived }
}

for (const way of ['in', 'out', 'both'] as const) {
  test(`an answer that a cut holds up (${way}) is not waited for`, { skip, timeout }, async (t) => {
    const { connection, cut, arrived } = await start(t)
    const lost = assert.rejects(connection.exchange(Buffer.alloc(8), 8), /ETIMEDOUT/)
    await arrived(8)
    cut(way)
    await lost
  })
}

test('a request that does not arrive is given up', { skip, timeout }, async (t) => {
  const { connection, cut, arrived } = await start(t)
  const first = assert.rejects(connection.exchange(Buffer.alloc(8), 8), /ETIMEDOUT/)
  await arrived(8)
  cut('both')
  await assert.rejects(connection.exchange(Buffer.alloc(8), 8), /ETIMEDOUT/)
  await first
})
