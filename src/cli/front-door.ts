/** The executable `shardlog`: every tool as a command, and a few of its own. */
import type { ToolEntry } from './tools.ts'

const SERVER_WORDS: ReadonlySet<string> = new Set(['server', 'start'])

/**
 * Whether the words start a broker: none at all, `server`, a properties file or `--override`. The
 * rest of them are the server's.
 */
export function serverArguments(words: readonly string[]): readonly string[] | null {
  const [first] = words
  if (first === undefined) return []
  if (SERVER_WORDS.has(first)) return words.slice(1)
  return first === '--override' || first.endsWith('.properties') ? words : null
}

async function help(): Promise<string> {
  const [{ TOOLS }, { OWN_COMMANDS }] = await Promise.all([
    import('./tools.ts'),
    import('./shardlog/commands.ts'),
  ])
  const groups = new Map<string, [string, string][]>()
  groups.set('broker', [
    ['', 'Starts a broker on 127.0.0.1:9092, as `shardlog server` does.'],
    ['server', 'Starts a broker: [server.properties] [--override key=value]...'],
  ])
  const add = (group: string, command: string, summary: string): void => {
    const known = groups.get(group)
    if (known === undefined) groups.set(group, [[command, summary]])
    else known.push([command, summary])
  }
  for (const { command, group, summary } of TOOLS as readonly ToolEntry[]) {
    add(group, command, summary)
  }
  for (const { command, summary } of OWN_COMMANDS) add('shardlog', command, summary)
  const lines = ['Usage: shardlog [command] [options]', '']
  for (const [group, commands] of groups) {
    lines.push(`${group}:`)
    for (const [command, summary] of commands) lines.push(`  ${command.padEnd(28)}${summary}`)
    lines.push('')
  }
  lines.push("`shardlog COMMAND --help` tells more. Apache's names, as in `shardlog kafka-topics`,")
  lines.push('are taken too; `shardlog tools link DIR` makes them executables of their own.')
  return `${lines.join('\n')}\n`
}

async function unknown(command: string): Promise<string> {
  const [{ TOOLS }, { OWN_COMMANDS }, { nearestName }] = await Promise.all([
    import('./tools.ts'),
    import('./shardlog/commands.ts'),
    import('./kit/nearest-name.ts'),
  ])
  const names = ['server', 'help', ...OWN_COMMANDS.map((one) => one.command)]
  for (const tool of TOOLS) names.push(tool.command, tool.name)
  const nearest = nearestName(command, names)
  const hint = nearest === null ? 'see shardlog help' : `did you mean ${nearest}?`
  return `shardlog: there is no command ${JSON.stringify(command)}; ${hint}\n`
}

/** Runs a command that is not the server's and sets the exit status. */
export async function frontDoor(words: readonly string[]): Promise<void> {
  const [command = 'help', ...rest] = words
  if (command === 'help' || command === '--help' || command === '-h') {
    process.stdout.write(await help())
    return
  }
  if (command === '--version' || command === 'version') {
    const { packageVersion } = await import('./kit/help.ts')
    process.stdout.write(`${packageVersion()}\n`)
    return
  }
  const [{ findTool }, { OWN_COMMANDS }, { runInProcess }] = await Promise.all([
    import('./tools.ts'),
    import('./shardlog/commands.ts'),
    import('./main.ts'),
  ])
  const found = OWN_COMMANDS.find((one) => one.command === command) ?? findTool(command) ?? null
  if (found === null) {
    process.stderr.write(await unknown(command))
    process.exitCode = 1
    return
  }
  await runInProcess(await found.load(), rest)
}
