/** Runs benchmarks one after another with the package `benchmark` and prints time per operation. */
import Benchmark from 'benchmark'

export type Work =
  | { readonly name: string; readonly bytes?: number; readonly sync: () => unknown }
  | { readonly name: string; readonly bytes?: number; readonly async: () => Promise<unknown> }

export interface Suite {
  readonly name: string
  /** The benchmarks, made when the suite's turn comes, and what ends their surroundings. */
  prepare(): Promise<{ readonly work: readonly Work[]; end(): Promise<void> }>
}

/** Rejects with the error of a benchmark that throws. */
export async function runSuite(suite: Suite): Promise<void> {
  process.stdout.write(`\n${suite.name}\n`)
  const { work, end } = await suite.prepare()
  try {
    for (const one of work) process.stdout.write(`  ${formatResult(one, await measure(one))}\n`)
  } finally {
    await end()
  }
}

function measure(work: Work): Promise<Benchmark> {
  return new Promise((settle, fail) => {
    const deferred = 'async' in work
    const run = deferred
      ? (deferral: { resolve(): void }) => {
          work.async().then(() => deferral.resolve(), fail)
        }
      : work.sync
    const benchmark = new Benchmark(work.name, run, {
      defer: deferred,
      maxTime: 1,
      onError: () => fail((benchmark as unknown as { error: Error }).error),
      onComplete: () => settle(benchmark),
    })
    benchmark.run({ async: true })
  })
}

function formatResult(work: Work, { stats }: Benchmark): string {
  const microseconds = stats.mean * 1e6
  const time = microseconds >= 100 ? microseconds.toFixed(0) : microseconds.toPrecision(3)
  const rate =
    work.bytes === undefined ? '' : `  ${(work.bytes / stats.mean / 1e9).toFixed(2)} GB/s`
  const spread = `±${stats.rme.toFixed(1)} % of ${stats.sample.length}`
  return `${work.name.padEnd(44)} ${time.padStart(9)} us  ${spread}${rate}`
}
