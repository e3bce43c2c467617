/** Everything that a partition has, by offset. */
import { SimpleConsumer } from '../../../src/client/simple-consumer.ts'

/** Values of the partition by offset, up to its high watermark. */
export async function readAll(
  bootstrapServers: string,
  topic: string,
  partition: number,
): Promise<string[]> {
  await using consumer = new SimpleConsumer({ bootstrapServers })
  const values: string[] = []
  for (;;) {
    const { records, nextOffset, highWatermark } = await consumer.fetch({
      ...{ topic, partition, offset: values.length, maxWaitMs: 10 },
    })
    for (const { offset, value } of records) values[offset] = String(value)
    if (nextOffset >= highWatermark) return values
  }
}
