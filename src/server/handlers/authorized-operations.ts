/** Bit sets of operations (AclOperation codes) that everybody has while there is no authorizer. */

/** Read, write, create, delete, alter, describe, describe and alter configs. */
export const ALL_TOPIC_OPERATIONS = 3576
/** Create, alter, describe, cluster action, describe and alter configs, idempotent write. */
export const ALL_CLUSTER_OPERATIONS = 8096
/** Where it was not asked for. */
export const OPERATIONS_NOT_ASKED = -2147483648
/** Read, delete, describe. */
export const ALL_GROUP_OPERATIONS = 328
