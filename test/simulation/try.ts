import { runScenario } from './scenario.ts'

const first = Number(process.argv[2] ?? 1)
const count = Number(process.argv[3] ?? 1)
const isTraced = process.argv[4] === 't'
const begin = performance.now()
let events = 0,
  acked = 0,
  elections = 0,
  failed = 0,
  healed = 0,
  slowest = 0
const kinds = new Map<string, number[]>()
for (let seed = first; seed < first + count; seed++) {
  const t = performance.now()
  try {
    const s = await runScenario(seed, isTraced ? { print: (l) => console.log(l) } : {})
    events += s.eventCount
    acked += s.acknowledged
    elections += s.elections
    healed = Math.max(healed, s.healedMs)
    if (count === 1) console.log(s)
  } catch (error) {
    failed++
    const text = String((error as Error).stack ?? error)
    if (count === 1) console.log(text)
    const key = text.split('\n')[0]!.replace(/\d+/g, 'N').slice(0, 90)
    const l = kinds.get(key) ?? []
    l.push(seed)
    kinds.set(key, l)
    if (l.length === 1) console.log(seed, text.split('\n').slice(0, 4).join('\n').slice(0, 600))
  }
  slowest = Math.max(slowest, performance.now() - t)
}
console.log([...kinds].map(([k, v]) => `${v.length} × ${k} ${v.slice(0, 8).join()}`).join('\n'))
const ms = performance.now() - begin
console.log({
  failed,
  count,
  msPerSeed: ms / count,
  events: events / count,
  acked: acked / count,
  elections: elections / count,
  healed,
  slowest,
})
process.exit(0)
