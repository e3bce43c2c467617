/** The public entry point `shardlog`: a broker inside your own program. */
export {
  type CreateBrokerOptions,
  createBroker,
  type EmbeddedBroker,
  type TopicOptions,
} from './create-broker.ts'
export { type Clock, ManualClock, systemClock } from './util/clock.ts'
export type { Logger } from './util/logger.ts'
