import type { Observer, RequestResult } from '../../events.ts'
import {
  ANSWER_CHANGES,
  CACHE_RESULTS,
  CLIENT_LIMITS,
  FORMATS,
  HELD_BACK_BY,
  KEY_FILES,
  SHARED_RESULTS,
  STREAM_EVENTS,
  STATUSES,
  UPSTREAM_OUTCOMES,
} from '../../events.ts'
import { Histogram, LabelledCounter } from './counters.ts'

/** In seconds. A hit takes less than a millisecond, a request that waits for upstream up to ten seconds. */
const REQUEST_BUCKETS = [
  0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10,
]
const UPSTREAM_BUCKETS = [0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10]
const AGE_BUCKETS = [1, 2.5, 5, 10, 20, 30, 45, 60, 120, 300, 600]

const RESULTS: readonly RequestResult[] = [...CACHE_RESULTS, 'none']
/** The client label of a request without a known key; `none` is reserved and cannot be a client's name. */
export const NO_CLIENT = 'none'

/**
 * Counts events and durations since the start. Every label value exists from the start, at zero, because a rate misses
 * the first increment of a series that appears with it.
 */
export class MetricsRecorder {
  /** By requested format and status. */
  readonly requests = new Map(FORMATS.map((format) => [format, new LabelledCounter<number>(STATUSES)]))
  readonly requestSeconds = new Map(RESULTS.map((result) => [result, new Histogram(REQUEST_BUCKETS)]))
  readonly clients = new LabelledCounter<string>([])
  readonly limitedClients = new LabelledCounter<string>([])
  readonly clientCalls = new LabelledCounter<string>([])
  readonly clientLimits = new LabelledCounter(CLIENT_LIMITS)
  readonly lookups = new LabelledCounter(CACHE_RESULTS)
  readonly ageSeconds = new Histogram(AGE_BUCKETS)
  readonly sharedLookups = new LabelledCounter(SHARED_RESULTS)
  readonly answers = new LabelledCounter(ANSWER_CHANGES)
  readonly events = new LabelledCounter(STREAM_EVENTS)
  readonly attempts = new LabelledCounter(UPSTREAM_OUTCOMES)
  readonly attemptSeconds = new Histogram(UPSTREAM_BUCKETS)
  readonly heldBack = new LabelledCounter(HELD_BACK_BY)
  /** 1 while a file of keys is valid, or is not configured. */
  readonly validKeyFiles = new Map(KEY_FILES.map((file) => [file, 1]))
  evictions = 0
  overloads = 0
  unconfirmedEmpties = 0
  logLinesDropped = 0
  exhaustedDescriptorChecks = 0

  readonly observer: Partial<Observer> = {
    requestAnswered: (format, status, result, seconds) => {
      this.requests.get(format)?.add(status)
      this.requestSeconds.get(result)?.observe(seconds)
    },
    overloaded: () => {
      this.overloads++
    },
    clientIdentified: (name) => this.clients.add(name ?? NO_CLIENT),
    clientCalled: (name) => this.clientCalls.add(name),
    clientLimited: (limit, name) => {
      this.clientLimits.add(limit)
      this.limitedClients.add(name ?? NO_CLIENT)
    },
    clientsChanged: (names) => {
      this.clients.retain([...names, NO_CLIENT])
      this.limitedClients.retain([...names, NO_CLIENT])
      this.clientCalls.retain(names)
    },
    lookedUp: (result, ageSeconds) => {
      this.lookups.add(result)
      if (ageSeconds !== null) this.ageSeconds.observe(ageSeconds)
    },
    answerStored: ({ change, fromPeer }) => {
      if (!fromPeer) this.answers.add(change)
    },
    eventSent: (event) => this.events.add(event),
    evicted: () => {
      this.evictions++
    },
    emptyDoubted: () => {
      this.unconfirmedEmpties++
    },
    upstreamHeldBack: (by) => this.heldBack.add(by),
    keyFileChecked: (file, isValid) => this.validKeyFiles.set(file, isValid ? 1 : 0),
    logLinesDropped: (lines) => {
      this.logLinesDropped += lines
    },
    fileDescriptorsExhausted: () => {
      this.exhaustedDescriptorChecks++
    },
    sharedCacheLookedUp: (result) => this.sharedLookups.add(result),
    upstreamAnswered: (outcome, seconds) => {
      this.attempts.add(outcome)
      this.attemptSeconds.observe(seconds)
    },
  }
}
