/** Medians, ratios and their table. */
import { mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import type { Machine } from './machine.ts'

/** What one round came to, by figure. */
export type Measured = Readonly<Record<string, number>>

/** Figures of one broker in one scenario: one value per measured round. */
export type Figures = Readonly<Record<string, readonly number[]>>

export interface ScenarioReport {
  readonly scenario: string
  /** Record size, batch size, linger and so on, in words. */
  readonly settings: string
  /** By name of the broker, in the order in which they ran. */
  readonly brokers: Readonly<Record<string, Figures>>
}

export /** Collects the rounds of each broker, figure by figure. */
class Rounds {
  readonly #figures = new Map<string, Map<string, number[]>>()

  add(broker: string, measured: Measured): void {
    const figures = this.#figures.get(broker) ?? new Map<string, number[]>()
    this.#figures.set(broker, figures)
    for (const [name, value] of Object.entries(measured)) {
      const values = figures.get(name)
      if (values === undefined) figures.set(name, [value])
      else values.push(value)
    }
  }

  get figures(): ScenarioReport['brokers'] {
    return Object.fromEntries([...this.#figures].map(([name, f]) => [name, Object.fromEntries(f)]))
  }
}

export function median(values: readonly number[]): number {
  const sorted = [...values].sort((a, b) => a - b)
  const middle = sorted.length >> 1
  if (sorted.length % 2 === 1) return sorted[middle] as number
  return ((sorted[middle - 1] as number) + (sorted[middle] as number)) / 2
}

function show(value: number): string {
  if (!Number.isFinite(value)) return '-'
  const size = Math.abs(value)
  const digits = size >= 100 ? 0 : size >= 10 ? 1 : size >= 1 ? 2 : 3
  return value.toFixed(digits)
}

/** The scenario as text: one line per figure, with the rounds and each ratio to `baseline`. */
export function formatReport(report: ScenarioReport, baseline: string): string {
  const names = Object.keys(report.brokers)
  const base = report.brokers[baseline]
  const lines = [`\n${report.scenario}: ${report.settings}`]
  const figureNames = new Set(names.flatMap((name) => Object.keys(report.brokers[name] ?? {})))
  const width = Math.max(22, ...[...figureNames].map(({ length }) => length))
  for (const figure of figureNames) {
    const cells = names.map((name) => {
      const values = report.brokers[name]?.[figure] ?? []
      const middle = median(values)
      const reference = base?.[figure]
      const ratio =
        reference === undefined || name === baseline || values.length === 0
          ? ''
          : ` = ${show(middle / median(reference))}x`
      return `${name} ${show(middle)}${ratio} [${values.map(show).join(' ')}]`
    })
    lines.push(`  ${figure.padEnd(width)} ${cells.join('   ')}`)
  }
  return lines.join('\n')
}

/** Keeps the rounds of a run under bench/results/, and says where. */
export function writeResults(machine: Machine, results: Readonly<Record<string, unknown>>): void {
  const folder = join(import.meta.dirname, '..', '..', 'bench', 'results')
  mkdirSync(folder, { recursive: true })
  const path = join(folder, `${machine.date.replaceAll(':', '-')}.json`)
  writeFileSync(path, `${JSON.stringify({ machine, ...results }, null, 2)}\n`)
  process.stdout.write(`\nwritten to ${path}\n`)
}
