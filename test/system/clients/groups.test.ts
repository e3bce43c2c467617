/** Groups of confluent-kafka (librdkafka), kafka-python, kafkajs, franz-go and sarama. */
import { testGroups } from './group-scenario.ts'
import { memberCommands } from './member.ts'

testGroups({
  title: 'groups of librdkafka, kafka-python, kafkajs, franz-go and sarama',
  needs: ['python', 'go'],
  clients: async () => Object.entries(memberCommands).map(([name, command]) => ({ name, command })),
})
