/** kafkajs against a broker inside the same program: `npm install shardlog kafkajs`. */
import { Kafka, logLevel } from 'kafkajs'
import { createBroker } from 'shardlog'

const broker = await createBroker({ topics: { greetings: { partitions: 2 } } })
try {
  const kafka = new Kafka({ brokers: [broker.bootstrapServers], logLevel: logLevel.ERROR })
  const producer = kafka.producer()
  await producer.connect()
  await producer.send({
    topic: 'greetings',
    messages: [
      { key: 'en', value: 'hello' },
      { key: 'de', value: 'hallo' },
    ],
  })
  await producer.disconnect()

  const consumer = kafka.consumer({ groupId: 'readers' })
  await consumer.connect()
  await consumer.subscribe({ topic: 'greetings', fromBeginning: true })
  await new Promise<void>((resolve) => {
    let left = 2
    void consumer.run({
      eachMessage: async ({ message }) => {
        process.stdout.write(`${message.key}: ${message.value}\n`)
        left -= 1
        if (left === 0) resolve()
      },
    })
  })
  await consumer.disconnect()
} finally {
  await broker.close()
}
