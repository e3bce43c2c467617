/** Which names a topic may have. */

export const TOPIC_NAME_CHARACTERS_MAX = 249

/** What is wrong with a topic name, or null. */
export function wrongTopicName(name: string): string | null {
  if (name === '') return 'Topic name is invalid: it is empty'
  if (name === '.' || name === '..') return `Topic name is invalid: it cannot be '${name}'`
  if (name.length > TOPIC_NAME_CHARACTERS_MAX) {
    return `Topic name is invalid: ${name.length} characters, at most ${TOPIC_NAME_CHARACTERS_MAX} are allowed`
  }
  if (!/^[a-zA-Z0-9._-]+$/.test(name)) {
    return `Topic name is invalid: '${name}' has characters other than ASCII letters, digits, '.', '_' and '-'`
  }
  return null
}

/** Names that differ only in `.` and `_` have the same key: metrics could not tell them apart. */
export function collisionKey(name: string): string {
  return name.replaceAll('.', '_')
}
