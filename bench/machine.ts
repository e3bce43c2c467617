/** Where and with what a benchmark ran: printed above every figure. */
import { execFileSync } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { cpus, loadavg, release, totalmem } from 'node:os'
import { join } from 'node:path'

const root = join(import.meta.dirname, '..', '..')

export interface Machine {
  readonly cpu: string
  readonly cores: number
  readonly memoryGb: number
  readonly kernel: string
  readonly congestionControl: string
  readonly loadBefore: readonly number[]
  readonly node: string
  /** With `+changes` when the work tree differs from it. */
  readonly commit: string
  readonly date: string
}

export function describeMachine(): Machine {
  const git = (...args: string[]) => execFileSync('git', args, { cwd: root, encoding: 'utf8' })
  const changed = git('status', '--porcelain').trim() !== ''
  return {
    cpu: cpus()[0]?.model ?? 'unknown',
    cores: cpus().length,
    memoryGb: Math.round(totalmem() / 1e9),
    kernel: release(),
    congestionControl: readFileSync('/proc/sys/net/ipv4/tcp_congestion_control', 'utf8').trim(),
    loadBefore: loadavg(),
    node: process.version,
    commit: git('rev-parse', '--short', 'HEAD').trim() + (changed ? '+changes' : ''),
    date: new Date().toISOString(),
  }
}

export function machineLine(machine: Machine): string {
  const { cpu, cores, memoryGb, kernel, congestionControl, node, commit, date } = machine
  const load = machine.loadBefore.map((value) => value.toFixed(2)).join(' ')
  return (
    `${cpu}, ${cores} cores, ${memoryGb} GB, Linux ${kernel}, TCP ${congestionControl}, ` +
    `load before ${load}\nNode ${node}, commit ${commit}, ${date}`
  )
}
