/** `kafka-run-class`: a tool by the name of Apache's main class, as in old scripts. */
import { nearestName } from './kit/nearest-name.ts'
import { runTool } from './kit/run-tool.ts'
import { defineTool, ToolError } from './kit/tool.ts'
import { findToolByClass, TOOLS } from './tools.ts'

/** Options of Apache's script that come before the class and concern Java. */
const WITH_VALUE = new Set(['-name', '--name'])

const summary = "Runs the tool that stands for one of Apache Kafka's main classes."

function helpText(): string {
  const rows = TOOLS.flatMap(({ name, classes }) => classes.map((one) => `  ${one} -> ${name}`))
  return `${[summary, '', 'Usage: kafka-run-class CLASS [arguments]', '', ...rows.sort()].join('\n')}\n`
}

export const kafkaRunClass = defineTool({
  name: 'kafka-run-class',
  summary,
  options: {},
  positionals: ['class', 'arguments...'],
  async runWords(words, io) {
    let at = 0
    while (words[at]?.startsWith('-')) {
      const word = words[at] as string
      if (word === '--help' || word === '-h') {
        io.stdout.write(helpText())
        return 0
      }
      if (word === '--version') {
        io.print((await import('./kit/help.ts')).packageVersion())
        return 0
      }
      at += WITH_VALUE.has(word) ? 2 : 1
    }
    const className = words[at]
    if (className === undefined) {
      io.stderr.write(helpText())
      return 1
    }
    const entry = findToolByClass(className)
    if (entry === undefined) {
      const nearest = nearestName(
        className,
        TOOLS.flatMap(({ classes }) => classes),
      )
      const hint = nearest === null ? 'see --help' : `did you mean ${nearest}?`
      throw new ToolError(`no tool stands for the class ${className}`, hint)
    }
    return await runTool(await entry.load(), words.slice(at + 1), io)
  },
  async run() {
    throw new ToolError('kafka-run-class takes its words as they are')
  },
})
