/**
 * Network namespaces as machines: each node has an address of its own on a bridge, whose own
 * address is that of the test process and of what else runs outside. Connections of a node are cut
 * with nftables inside it. Needs root, `ip` and `nft`.
 *
 * Names carry the id of this process, so that what a killed run has left is found and removed.
 */
import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { randomInt } from 'node:crypto'
import { requirePeer } from './peers.ts'

const NAME = /^sl(\d+)x\d+n\d+/

/** Why tests with namespaces must be skipped, false if they need not. Throws with CI=true. */
export function skipWithoutNamespaces(): string | false {
  const missing = (['ip', 'nft'] as const).filter((name) => requirePeer(name) === null)
  let reason: string | false = false
  if (process.getuid?.() !== 0) reason = 'network namespaces need root'
  else if (missing.length > 0) reason = `not installed: ${missing.join(', ')}`
  else if (spawnSync('ip', ['netns', 'list']).status !== 0) reason = 'no network namespaces here'
  assert.ok(reason === false || process.env['CI'] !== 'true', String(reason))
  return reason
}

function run(command: string, args: readonly string[], input = ''): string {
  const result = spawnSync(command, args, { encoding: 'utf8', input, timeout: 10_000 })
  if (result.status === 0) return result.stdout
  const why = result.error?.message ?? result.stderr
  throw new Error(`${command} ${args.join(' ')}: ${why}`)
}

/** Those who are cut off from a node. */
export interface Peers {
  readonly address: string
  /** Only servers at these ports of the address. */
  readonly ports?: readonly number[]
}

export interface Cut {
  readonly from: readonly Peers[]
  /** `both`; packets that come in, or that go out, with the others passing. */
  readonly direction?: 'both' | 'in' | 'out'
  /** 100; of every hundred packets. */
  readonly percent?: number
}

export class NetworkNode {
  readonly name: string
  readonly address: string

  constructor(name: string, address: string) {
    this.name = name
    this.address = address
  }

  /** Words before a command that is to run on this node. */
  get prefix(): readonly string[] {
    return ['ip', 'netns', 'exec', this.name]
  }

  /** Drops packets from then on; a node has one cut at a time. */
  cut(cut: Cut): void {
    const { direction = 'both', percent = 100 } = cut
    const chance = percent === 100 ? '' : `numgen random mod 100 < ${percent} `
    const rules = (way: 'in' | 'out') =>
      direction === 'both' || direction === way
        ? cut.from.map((peers) => `${match(peers, way)} ${chance}drop`)
        : []
    const chain = (name: string, hook: string, lines: readonly string[]) =>
      `chain ${name} { type filter hook ${hook} priority 0; policy accept;\n${lines.join('\n')}\n}`
    const text = `table ip cut {\n${chain('i', 'input', rules('in'))}\n${chain('o', 'output', rules('out'))}\n}\n`
    this.heal()
    run('ip', ['netns', 'exec', this.name, 'nft', '-f', '-'], text)
  }

  heal(): void {
    run('ip', ['netns', 'exec', this.name, 'nft', 'flush', 'ruleset'])
  }
}

function match({ address, ports }: Peers, way: 'in' | 'out'): string {
  const end = way === 'in' ? 's' : 'd'
  const which = ports === undefined ? '' : ` tcp ${end}port { ${ports.join(', ')} }`
  return `ip ${end}addr ${address}${which}`
}

let made = 0

export class TestNetwork {
  /** The address of the bridge: ZooKeeper and clients have it. */
  readonly hostAddress: string
  readonly #bridge: string
  readonly #nodes: NetworkNode[] = []

  private constructor(bridge: string, hostAddress: string) {
    this.#bridge = bridge
    this.hostAddress = hostAddress
  }

  /** Makes a bridge and `count` nodes on it. */
  static create(count: number): TestNetwork {
    removeLeftovers()
    made += 1
    // One process has few networks and the machine few processes that have any.
    const subnet = `10.${randomInt(64, 128)}.${randomInt(0, 256)}`
    const name = `sl${process.pid}x${made}`
    const network = new TestNetwork(`${name}b`, `${subnet}.1`)
    process.once('exit', network.#remove)
    try {
      run('ip', ['link', 'add', 'name', network.#bridge, 'type', 'bridge'])
      run('ip', ['addr', 'add', `${subnet}.1/24`, 'dev', network.#bridge])
      run('ip', ['link', 'set', network.#bridge, 'up'])
      for (let i = 0; i < count; i += 1) network.#add(`${name}n${i}`, `${subnet}.${10 + i}`)
      return network
    } catch (error) {
      network.close()
      throw error
    }
  }

  #add(name: string, address: string): void {
    run('ip', ['netns', 'add', name])
    this.#nodes.push(new NetworkNode(name, address))
    run('ip', ['link', 'add', name, 'type', 'veth', 'peer', 'name', 'eth0', 'netns', name])
    run('ip', ['link', 'set', name, 'master', this.#bridge, 'up'])
    for (const words of ['link set lo up', `addr add ${address}/24 dev eth0`, 'link set eth0 up']) {
      run('ip', ['-n', name, ...words.split(' ')])
    }
  }

  node(index: number): NetworkNode {
    const node = this.#nodes[index]
    assert.ok(node, `there is no node ${index}`)
    return node
  }

  /** Every cut is healed. */
  heal(): void {
    for (const node of this.#nodes) node.heal()
  }

  /** Synchronous, as it also runs when the process ends. */
  readonly #remove = (): void => {
    for (const { name } of this.#nodes) spawnSync('ip', ['netns', 'del', name])
    spawnSync('ip', ['link', 'del', this.#bridge])
  }

  close(): void {
    process.off('exit', this.#remove)
    this.#remove()
  }

  [Symbol.dispose](): void {
    this.close()
  }
}

/** Namespaces of test processes that have ended without removing them, with what runs there. */
function removeLeftovers(): void {
  for (const line of run('ip', ['netns', 'list']).split('\n')) {
    const name = line.split(' ')[0] ?? ''
    const owner = NAME.exec(name)?.[1]
    if (owner === undefined || isAlive(Number(owner))) continue
    for (const pid of run('ip', ['netns', 'pids', name]).split('\n')) {
      if (pid !== '') killIfThere(Number(pid))
    }
    spawnSync('ip', ['netns', 'del', name])
    spawnSync('ip', ['link', 'del', name.replace(/n\d+$/, 'b')])
  }
}

function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0)
    return true
  } catch {
    return false
  }
}

function killIfThere(pid: number): void {
  try {
    process.kill(pid, 'SIGKILL')
  } catch {
    // It has ended in the meantime.
  }
}
