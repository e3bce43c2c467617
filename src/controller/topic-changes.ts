export type { NewTopic, ChangeOptions, CreateOutcome, TopicOutcome, MorePartitions } from './topic-manager.ts'
