/** The error codes of the Kafka protocol, with what clients do on them. */

/** code, name, retriable, message */
type Row = readonly [code: number, name: string, retriable: boolean, message: string]

const rows = [
  [-1, 'UNKNOWN_SERVER_ERROR', false, 'The server met an unexpected fault.'],
  [0, 'NONE', false, ''],
  [1, 'OFFSET_OUT_OF_RANGE', false, 'The offset is outside the log.'],
  [
    2,
    'CORRUPT_MESSAGE',
    true,
    'The records failed their CRC, have an impossible size or an unknown format.',
  ],
  [3, 'UNKNOWN_TOPIC_OR_PARTITION', true, 'This server does not host this topic-partition.'],
  [4, 'INVALID_FETCH_SIZE', false, 'The fetch size is invalid.'],
  [5, 'LEADER_NOT_AVAILABLE', true, 'There is no leader for this partition now.'],
  [6, 'NOT_LEADER_OR_FOLLOWER', true, 'This server does not lead this partition.'],
  [7, 'REQUEST_TIMED_OUT', true, 'The request timed out.'],
  [8, 'BROKER_NOT_AVAILABLE', false, 'The broker is not available.'],
  [9, 'REPLICA_NOT_AVAILABLE', true, 'The replica is not available.'],
  [
    10,
    'MESSAGE_TOO_LARGE',
    false,
    'The record batch is larger than the topic allows (max.message.bytes).',
  ],
  [11, 'STALE_CONTROLLER_EPOCH', false, 'The controller moved to another broker.'],
  [12, 'OFFSET_METADATA_TOO_LARGE', false, 'The metadata of the offset is too large.'],
  [13, 'NETWORK_EXCEPTION', true, 'The connection broke before the answer came.'],
  [14, 'COORDINATOR_LOAD_IN_PROGRESS', true, 'The coordinator is loading.'],
  [15, 'COORDINATOR_NOT_AVAILABLE', true, 'The coordinator is not available.'],
  [16, 'NOT_COORDINATOR', true, 'This is not the right coordinator.'],
  [17, 'INVALID_TOPIC_EXCEPTION', false, 'The topic name is invalid.'],
  [18, 'RECORD_LIST_TOO_LARGE', false, 'The records are larger than a segment.'],
  [19, 'NOT_ENOUGH_REPLICAS', true, 'There are fewer in-sync replicas than required.'],
  [
    20,
    'NOT_ENOUGH_REPLICAS_AFTER_APPEND',
    true,
    'The records were written to fewer in-sync replicas than required.',
  ],
  [21, 'INVALID_REQUIRED_ACKS', false, 'acks must be -1, 0 or 1.'],
  [22, 'ILLEGAL_GENERATION', false, 'The generation of the group is not this one.'],
  [
    23,
    'INCONSISTENT_GROUP_PROTOCOL',
    false,
    'The protocols of the member do not fit those of the group.',
  ],
  [24, 'INVALID_GROUP_ID', false, 'The group id is invalid.'],
  [25, 'UNKNOWN_MEMBER_ID', false, 'The group does not know this member.'],
  [26, 'INVALID_SESSION_TIMEOUT', false, 'The session timeout is outside the allowed range.'],
  [27, 'REBALANCE_IN_PROGRESS', false, 'The group is rebalancing.'],
  [28, 'INVALID_COMMIT_OFFSET_SIZE', false, 'The commit is too large.'],
  [29, 'TOPIC_AUTHORIZATION_FAILED', false, 'Not authorized for this topic.'],
  [30, 'GROUP_AUTHORIZATION_FAILED', false, 'Not authorized for this group.'],
  [31, 'CLUSTER_AUTHORIZATION_FAILED', false, 'Not authorized for the cluster.'],
  [32, 'INVALID_TIMESTAMP', false, 'The timestamp is outside what the topic allows.'],
  [33, 'UNSUPPORTED_SASL_MECHANISM', false, 'The SASL mechanism is not supported.'],
  [34, 'ILLEGAL_SASL_STATE', false, 'The request does not fit the state of the SASL exchange.'],
  [35, 'UNSUPPORTED_VERSION', false, 'This version of the API is not supported.'],
  [36, 'TOPIC_ALREADY_EXISTS', false, 'A topic with this name exists.'],
  [37, 'INVALID_PARTITIONS', false, 'The number of partitions is invalid.'],
  [
    38,
    'INVALID_REPLICATION_FACTOR',
    false,
    'The replication factor is below 1 or above the number of brokers.',
  ],
  [39, 'INVALID_REPLICA_ASSIGNMENT', false, 'The replica assignment is invalid.'],
  [40, 'INVALID_CONFIG', false, 'The configuration is invalid.'],
  [41, 'NOT_CONTROLLER', true, 'This broker is not the controller.'],
  [42, 'INVALID_REQUEST', false, 'The request is well-formed but contradicts itself.'],
  [43, 'UNSUPPORTED_FOR_MESSAGE_FORMAT', false, 'The message format does not support the request.'],
  [44, 'POLICY_VIOLATION', false, 'The request violates a policy.'],
  [45, 'OUT_OF_ORDER_SEQUENCE_NUMBER', false, 'The sequence number is out of order.'],
  [46, 'DUPLICATE_SEQUENCE_NUMBER', false, 'The sequence number was used before.'],
  [47, 'INVALID_PRODUCER_EPOCH', false, 'A producer with a newer epoch took over.'],
  [48, 'INVALID_TXN_STATE', false, 'The producer is in a state that does not allow this.'],
  [
    49,
    'INVALID_PRODUCER_ID_MAPPING',
    false,
    'The producer id does not belong to this transactional id.',
  ],
  [
    50,
    'INVALID_TRANSACTION_TIMEOUT',
    false,
    'The transaction timeout is larger than the broker allows.',
  ],
  [51, 'CONCURRENT_TRANSACTIONS', true, 'The previous transaction is still being completed.'],
  [52, 'TRANSACTION_COORDINATOR_FENCED', false, 'A newer transaction coordinator took over.'],
  [
    53,
    'TRANSACTIONAL_ID_AUTHORIZATION_FAILED',
    false,
    'Transactions are not available to this producer.',
  ],
  [54, 'SECURITY_DISABLED', false, 'There is no authorizer.'],
  [55, 'OPERATION_NOT_ATTEMPTED', false, 'Another part of the request failed first.'],
  [56, 'KAFKA_STORAGE_ERROR', true, 'The disk failed.'],
  [57, 'LOG_DIR_NOT_FOUND', false, 'There is no such log directory.'],
  [58, 'SASL_AUTHENTICATION_FAILED', false, 'Authentication failed.'],
  [59, 'UNKNOWN_PRODUCER_ID', false, 'The producer id is not known.'],
  [60, 'REASSIGNMENT_IN_PROGRESS', false, 'A reassignment is in progress.'],
  [61, 'DELEGATION_TOKEN_AUTH_DISABLED', false, 'Delegation tokens are disabled.'],
  [62, 'DELEGATION_TOKEN_NOT_FOUND', false, 'There is no such delegation token.'],
  [
    63,
    'DELEGATION_TOKEN_OWNER_MISMATCH',
    false,
    'The delegation token belongs to another principal.',
  ],
  [
    64,
    'DELEGATION_TOKEN_REQUEST_NOT_ALLOWED',
    false,
    'Delegation tokens cannot be asked for on this connection.',
  ],
  [65, 'DELEGATION_TOKEN_AUTHORIZATION_FAILED', false, 'Not authorized for this delegation token.'],
  [66, 'DELEGATION_TOKEN_EXPIRED', false, 'The delegation token has expired.'],
  [67, 'INVALID_PRINCIPAL_TYPE', false, 'The principal type is not supported.'],
  [68, 'NON_EMPTY_GROUP', false, 'The group is not empty.'],
  [69, 'GROUP_ID_NOT_FOUND', false, 'There is no such group.'],
  [70, 'FETCH_SESSION_ID_NOT_FOUND', true, 'There is no such fetch session.'],
  [71, 'INVALID_FETCH_SESSION_EPOCH', true, 'The epoch of the fetch session is not the next one.'],
  [72, 'LISTENER_NOT_FOUND', true, 'The leader has no such listener.'],
  [73, 'TOPIC_DELETION_DISABLED', false, 'Topics cannot be deleted here (delete.topic.enable).'],
  [74, 'FENCED_LEADER_EPOCH', true, 'The leader epoch is older than that of the broker.'],
  [75, 'UNKNOWN_LEADER_EPOCH', true, 'The leader epoch is newer than that of the broker.'],
  [
    76,
    'UNSUPPORTED_COMPRESSION_TYPE',
    false,
    'This version of the API cannot carry this compression type.',
  ],
  [77, 'STALE_BROKER_EPOCH', false, 'The epoch of the broker is an old one.'],
  [78, 'OFFSET_NOT_AVAILABLE', true, 'The offset is not known yet after a change of leader.'],
  [79, 'MEMBER_ID_REQUIRED', false, 'The group wants a member id first.'],
  [80, 'PREFERRED_LEADER_NOT_AVAILABLE', true, 'The preferred leader is not available.'],
  [81, 'GROUP_MAX_SIZE_REACHED', false, 'The group is full.'],
  [82, 'FENCED_INSTANCE_ID', false, 'Another member took over this instance id.'],
  [83, 'ELIGIBLE_LEADERS_NOT_AVAILABLE', true, 'No eligible leader is available.'],
  [84, 'ELECTION_NOT_NEEDED', true, 'No election is needed.'],
  [85, 'NO_REASSIGNMENT_IN_PROGRESS', false, 'No reassignment is in progress.'],
  [86, 'GROUP_SUBSCRIBED_TO_TOPIC', false, 'The group still reads this topic.'],
  [87, 'INVALID_RECORD', false, 'A record is invalid, and so is its batch.'],
  [88, 'UNSTABLE_OFFSET_COMMIT', true, 'There are offsets of unfinished transactions.'],
  [89, 'THROTTLING_QUOTA_EXCEEDED', true, 'The quota is exceeded.'],
  [90, 'PRODUCER_FENCED', false, 'A producer with the same transactional id took over.'],
  [91, 'RESOURCE_NOT_FOUND', false, 'There is no such resource.'],
  [92, 'DUPLICATE_RESOURCE', false, 'The resource is named twice.'],
  [93, 'UNACCEPTABLE_CREDENTIAL', false, 'The credential does not meet the requirements.'],
  [94, 'INCONSISTENT_VOTER_SET', false, 'The voter is not one of the set.'],
  [95, 'INVALID_UPDATE_VERSION', false, 'The update version is invalid.'],
  [96, 'FEATURE_UPDATE_FAILED', false, 'The features cannot be updated.'],
  [97, 'PRINCIPAL_DESERIALIZATION_FAILURE', false, 'The forwarded principal cannot be read.'],
  [98, 'SNAPSHOT_NOT_FOUND', false, 'There is no such snapshot.'],
  [99, 'POSITION_OUT_OF_RANGE', false, 'The position is outside the snapshot.'],
  [100, 'UNKNOWN_TOPIC_ID', true, 'This server does not know this topic id.'],
  [101, 'DUPLICATE_BROKER_REGISTRATION', false, 'A broker with this id is registered.'],
  [102, 'BROKER_ID_NOT_REGISTERED', false, 'No broker with this id is registered.'],
  [103, 'INCONSISTENT_TOPIC_ID', true, 'The topic id does not belong to this topic.'],
  [104, 'INCONSISTENT_CLUSTER_ID', false, 'The cluster id is another one.'],
  [105, 'TRANSACTIONAL_ID_NOT_FOUND', false, 'There is no such transactional id.'],
  [106, 'FETCH_SESSION_TOPIC_ID_ERROR', true, 'The fetch session uses topic ids in another way.'],
  [107, 'INELIGIBLE_REPLICA', false, 'The replica may not join the in-sync replicas.'],
  [
    108,
    'NEW_LEADER_ELECTED',
    false,
    'The change of the in-sync replicas made another replica the leader.',
  ],
  [109, 'OFFSET_MOVED_TO_TIERED_STORAGE', false, 'The offset is in tiered storage now.'],
  [110, 'FENCED_MEMBER_EPOCH', false, 'The epoch of the member is not the one that the group has.'],
  [111, 'UNRELEASED_INSTANCE_ID', false, 'Another member still has this instance id.'],
  [112, 'UNSUPPORTED_ASSIGNOR', false, 'The group cannot use this assignor.'],
  [113, 'STALE_MEMBER_EPOCH', false, 'The epoch of the member is an old one.'],
  [114, 'MISMATCHED_ENDPOINT_TYPE', false, 'The request was sent to the wrong type of endpoint.'],
  [115, 'UNSUPPORTED_ENDPOINT_TYPE', false, 'This type of endpoint is not known.'],
  [116, 'UNKNOWN_CONTROLLER_ID', false, 'There is no controller with this id.'],
  [117, 'UNKNOWN_SUBSCRIPTION_ID', false, 'The telemetry subscription is not this one.'],
  [118, 'TELEMETRY_TOO_LARGE', false, 'The telemetry is larger than the broker takes.'],
  [119, 'INVALID_REGISTRATION', false, 'The registration of the broker is invalid.'],
  [120, 'TRANSACTION_ABORTABLE', false, 'The transaction must be aborted; the producer may go on.'],
  [121, 'INVALID_RECORD_STATE', false, 'The record is in a state that does not allow this.'],
  [122, 'SHARE_SESSION_NOT_FOUND', true, 'There is no such share session.'],
  [123, 'INVALID_SHARE_SESSION_EPOCH', true, 'The epoch of the share session is not the next one.'],
  [124, 'FENCED_STATE_EPOCH', false, 'The epoch of the share group state is an old one.'],
  [125, 'INVALID_VOTER_KEY', false, 'The voter key does not fit that of the receiver.'],
  [126, 'DUPLICATE_VOTER', false, 'The voter is one of the set already.'],
  [127, 'VOTER_NOT_FOUND', false, 'The voter is not one of the set.'],
  [128, 'INVALID_REGULAR_EXPRESSION', false, 'The regular expression is invalid.'],
  [129, 'REBOOTSTRAP_REQUIRED', false, 'The client must find the cluster anew.'],
  [130, 'STREAMS_INVALID_TOPOLOGY', false, 'The topology is invalid.'],
  [131, 'STREAMS_INVALID_TOPOLOGY_EPOCH', false, 'The epoch of the topology is invalid.'],
  [132, 'STREAMS_TOPOLOGY_FENCED', false, 'The epoch of the topology is an old one.'],
  [
    133,
    'SHARE_SESSION_LIMIT_REACHED',
    true,
    'There are as many share sessions as the broker allows.',
  ],
] as const satisfies readonly Row[]

type Name = (typeof rows)[number][1]
type CodeOf<N extends Name> = Extract<
  (typeof rows)[number],
  readonly [number, N, boolean, string]
>[0]

/** Error codes by name. */
export const ErrorCode = Object.fromEntries(rows.map(([code, name]) => [name, code])) as {
  readonly [N in Name]: CodeOf<N>
}

const byCode = new Map<number, Row>(rows.map((row) => [row[0], row]))

/** What is known of an error code. */
export interface ErrorDescription {
  readonly code: number
  readonly name: string
  /** Clients try again by themselves. */
  readonly retriable: boolean
  readonly message: string
}

/** Describes any code; one that is not in the table is named by its number and not retriable. */
export function errorOf(code: number): ErrorDescription {
  return {
    code,
    name: errorName(code),
    retriable: isRetriable(code),
    message: errorMessage(code),
  }
}

export function errorName(code: number): string {
  return byCode.get(code)?.[1] ?? `ERROR_${code}`
}

export function errorMessage(code: number): string {
  return byCode.get(code)?.[3] ?? `Error ${code}.`
}

export function isRetriable(code: number): boolean {
  return byCode.get(code)?.[2] ?? false
}

/** A failure that has a protocol error code; thrown inside one room only. */
export class KafkaError extends Error {
  override readonly name = 'KafkaError'
  readonly errorCode: number

  constructor(errorCode: number, message: string = errorMessage(errorCode)) {
    super(message)
    this.errorCode = errorCode
  }
}
