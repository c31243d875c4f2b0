/** The answers that the replicas of the quota benchmark share, in memory: what Redis and the state directory do. */
export function createSharedAnswers(clock) {
  const answers = new Map()
  const listeners = []
  return {
    isUp: true,
    async leaseGet(id, known, { token }) {
      const found = answers.get(id)
      const isKnown = found === undefined || found.answer.version === known || clock.now() >= found.until
      if (isKnown) return { kind: 'lease', overCorruptValue: false, token }
      return { kind: 'answer', answer: aged(found, clock.now()) }
    },
    renew() {},
    release() {},
    publish(id, answer, lifeMs) {
      const at = clock.now()
      answers.set(id, { answer, at, until: at + lifeMs })
      for (const listener of listeners) listener(id, answer.version)
    },
    onPublished(listener) {
      listeners.push(listener)
    },
  }
}

function aged({ answer, at }, now) {
  const since = now - at
  return { ...answer, ageMs: answer.ageMs + since, startedAgoMs: answer.startedAgoMs + since }
}
