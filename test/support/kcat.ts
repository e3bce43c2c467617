/** kcat, run once for each thing to do. */
import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { once } from 'node:events'

/** Runs kcat with `input` and returns its output. */
export async function kcat(args: readonly string[], input = ''): Promise<string> {
  const child = spawn('kcat', [...args], { stdio: ['pipe', 'pipe', 'inherit'] })
  let output = ''
  child.stdout.on('data', (chunk: Buffer) => {
    output += chunk.toString()
  })
  child.stdin.end(input)
  const [code] = (await once(child, 'close')) as [number]
  assert.equal(code, 0, `kcat ${args.join(' ')}`)
  return output
}
