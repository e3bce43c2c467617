/** What `shardlog` has beside Apache's tools. */
import type { Tool } from '../kit/tool.ts'

export interface OwnCommand {
  readonly command: string
  readonly summary: string
  readonly load: () => Promise<Tool>
}

export const OWN_COMMANDS: readonly OwnCommand[] = [
  {
    command: 'tail',
    summary: 'Prints the last records of a topic, and those that come.',
    load: async () => (await import('./tail.ts')).shardlogTail,
  },
  {
    command: 'top',
    summary: 'Shows rates, lag and latency of each topic, live.',
    load: async () => (await import('./top.ts')).shardlogTop,
  },
  {
    command: 'doctor',
    summary: 'Checks this machine, the data directory and the broker for what goes wrong often.',
    load: async () => (await import('./doctor.ts')).shardlogDoctor,
  },
  {
    command: 'tools',
    summary: "`tools link DIR` puts links to Apache's tool names into a folder.",
    load: async () => (await import('./tools-link.ts')).shardlogTools,
  },
  {
    command: 'completion',
    summary: 'Prints the completion script for bash, zsh or fish.',
    load: async () => (await import('./completion.ts')).shardlogCompletion,
  },
]
