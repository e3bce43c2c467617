/** What can go wrong for a client, as classes. */
import { ErrorCode, errorMessage, errorName, isRetriable } from '../protocol/error-codes.ts'

/** Every error that the client library throws on purpose. */
export class ClientError extends Error {
  /** Whether trying again may help; the library has done so already where it can. */
  readonly retriable: boolean

  constructor(
    name: string,
    message: string,
    options: { readonly retriable: boolean; readonly cause?: unknown },
  ) {
    super(message, options.cause === undefined ? undefined : { cause: options.cause })
    this.name = name
    this.retriable = options.retriable
  }
}

/** `UNKNOWN_TOPIC_OR_PARTITION` → `UnknownTopicOrPartitionError`. */
function classNameOf(code: number): string {
  const words = errorName(code).toLowerCase().split('_')
  const name = words.map((word) => word.charAt(0).toUpperCase() + word.slice(1)).join('')
  return /(?:Exception|Error)$/.test(name) ? name.replace(/Exception$/, 'Error') : `${name}Error`
}

/** An error code that a broker answered; `name` is that of its class. */
export class KafkaError extends ClientError {
  /** Of the Kafka protocol. */
  readonly code: number

  constructor(code: number, message?: string | null) {
    super(classNameOf(code), message ?? errorMessage(code), { retriable: isRetriable(code) })
    this.code = code
  }
}

export class OffsetOutOfRangeError extends KafkaError {}
export class CorruptMessageError extends KafkaError {}
export class UnknownTopicOrPartitionError extends KafkaError {}
export class NotLeaderOrFollowerError extends KafkaError {}
export class RequestTimedOutError extends KafkaError {}
export class MessageTooLargeError extends KafkaError {}
export class CoordinatorNotAvailableError extends KafkaError {}
export class InvalidTopicError extends KafkaError {}
export class IllegalGenerationError extends KafkaError {}
export class UnknownMemberIdError extends KafkaError {}
export class RebalanceInProgressError extends KafkaError {}
export class TopicAlreadyExistsError extends KafkaError {}
export class GroupIdNotFoundError extends KafkaError {}
export class NonEmptyGroupError extends KafkaError {}
export class FencedInstanceIdError extends KafkaError {}

const classes = new Map<number, new (code: number, message?: string | null) => KafkaError>([
  [ErrorCode.OFFSET_OUT_OF_RANGE, OffsetOutOfRangeError],
  [ErrorCode.CORRUPT_MESSAGE, CorruptMessageError],
  [ErrorCode.UNKNOWN_TOPIC_OR_PARTITION, UnknownTopicOrPartitionError],
  [ErrorCode.NOT_LEADER_OR_FOLLOWER, NotLeaderOrFollowerError],
  [ErrorCode.REQUEST_TIMED_OUT, RequestTimedOutError],
  [ErrorCode.MESSAGE_TOO_LARGE, MessageTooLargeError],
  [ErrorCode.COORDINATOR_NOT_AVAILABLE, CoordinatorNotAvailableError],
  [ErrorCode.INVALID_TOPIC_EXCEPTION, InvalidTopicError],
  [ErrorCode.ILLEGAL_GENERATION, IllegalGenerationError],
  [ErrorCode.UNKNOWN_MEMBER_ID, UnknownMemberIdError],
  [ErrorCode.REBALANCE_IN_PROGRESS, RebalanceInProgressError],
  [ErrorCode.TOPIC_ALREADY_EXISTS, TopicAlreadyExistsError],
  [ErrorCode.GROUP_ID_NOT_FOUND, GroupIdNotFoundError],
  [ErrorCode.NON_EMPTY_GROUP, NonEmptyGroupError],
  [ErrorCode.FENCED_INSTANCE_ID, FencedInstanceIdError],
])

/** The error of a code other than 0, of its own class where there is one. */
export function errorFor(code: number, message?: string | null): KafkaError {
  const Class = classes.get(code) ?? KafkaError
  return new Class(code, message)
}

/** Throws the error of a code other than 0. */
export function throwIfError(code: number, message?: string | null): void {
  if (code !== 0) throw errorFor(code, message)
}

/** A broker cannot be reached, or the connection to it broke. */
export class ConnectionError extends ClientError {
  constructor(message: string, cause?: unknown) {
    super('ConnectionError', message, { retriable: true, cause })
  }
}

/** A broker did not answer in time. */
export class RequestTimeoutError extends ClientError {
  constructor(message: string) {
    super('RequestTimeoutError', message, { retriable: true })
  }
}

/** Records were not stored within `deliveryTimeoutMs`, as far as is known; `cause` says why. */
export class DeliveryTimeoutError extends ClientError {
  constructor(message: string, cause?: unknown) {
    super('DeliveryTimeoutError', message, { retriable: true, cause })
  }
}

/** A producer has no room for more records, and had none for too long. */
export class BufferExhaustedError extends ClientError {
  constructor(message: string) {
    super('BufferExhaustedError', message, { retriable: true })
  }
}

/** No version of an API is served by both sides. */
export class UnsupportedVersionError extends ClientError {
  constructor(message: string) {
    super('UnsupportedVersionError', message, { retriable: false })
  }
}

/** The client was closed. */
export class ClientClosedError extends ClientError {
  constructor(message = 'The client is closed.') {
    super('ClientClosedError', message, { retriable: false })
  }
}

/** A broker sent something that is not a Kafka response. */
export class ProtocolError extends ClientError {
  constructor(message: string, cause?: unknown) {
    super('ProtocolError', message, { retriable: false, cause })
  }
}

/** What was asked for does not fit what the client is doing. */
export class IllegalStateError extends ClientError {
  constructor(message: string) {
    super('IllegalStateError', message, { retriable: false })
  }
}

/** An option or an argument that cannot be. */
export class InvalidArgumentError extends ClientError {
  constructor(message: string) {
    super('InvalidArgumentError', message, { retriable: false })
  }
}
