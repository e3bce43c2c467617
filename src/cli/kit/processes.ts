/** Processes of this user on this machine, from /proc. */
import { readdirSync, readFileSync, statSync } from 'node:fs'
import { setTimeout as wait } from 'node:timers/promises'
import { ToolError, type ToolIo } from './tool.ts'

const POLL_MS = 50

export interface RunningProgram {
  readonly pid: number
  /** The command line. */
  readonly words: readonly string[]
}

/** Whether an error says that a process has ended, or is none of ours. */
export function isGone(error: unknown): boolean {
  const { code } = error as NodeJS.ErrnoException
  return code === 'ENOENT' || code === 'ESRCH' || code === 'EACCES' || code === 'EPERM'
}

/** All but this process, by ascending id; those that end meanwhile are left out. */
export function runningPrograms(): RunningProgram[] {
  const user = process.getuid?.()
  const found: RunningProgram[] = []
  for (const name of readdirSync('/proc')) {
    if (!/^\d+$/.test(name) || Number(name) === process.pid) continue
    try {
      if (statSync(`/proc/${name}`).uid !== user) continue
      const words = readFileSync(`/proc/${name}/cmdline`, 'utf8').split('\0').slice(0, -1)
      found.push({ pid: Number(name), words })
    } catch (error) {
      if (!isGone(error)) throw error
    }
  }
  return found.sort((a, b) => a.pid - b.pid)
}

function isRunning(pid: number): boolean {
  try {
    process.kill(pid, 0)
    // A child that nobody has waited for yet has ended all the same.
    return !/^State:\s+Z/m.test(readFileSync(`/proc/${pid}/status`, 'utf8'))
  } catch (error) {
    if (isGone(error)) return false
    throw error
  }
}

/** Asks processes to end (SIGTERM) and says so; waits for their end if told to. */
export async function stopProcesses(
  found: readonly { readonly pid: number; readonly name: string }[],
  waits: boolean,
  io: ToolIo,
): Promise<void> {
  for (const { pid, name } of found) {
    process.kill(pid, 'SIGTERM')
    io.print(`stopping process ${pid}: ${name}`)
  }
  while (waits && found.some(({ pid }) => isRunning(pid))) {
    if (io.signal.aborted) throw new ToolError('interrupted before they had ended')
    await wait(POLL_MS)
  }
}
