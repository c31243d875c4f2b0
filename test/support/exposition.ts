/*
 * A strict parser of the Prometheus text format (version 0.0.4): deviations that others tolerate are problems here. https://prometheus.io/docs/instrumenting/exposition_formats/
 */

export type MetricType = 'counter' | 'gauge' | 'histogram' | 'summary' | 'untyped'

export interface Sample {
  readonly name: string
  readonly labels: Readonly<Record<string, string>>
  readonly value: number
}

/** All that is exposed under one HELP and TYPE. */
export interface Family {
  readonly name: string
  readonly help: string
  readonly type: MetricType
  readonly samples: Sample[]
}

export interface Exposition {
  readonly families: ReadonlyMap<string, Family>
  /** The problems of the text, by line. */
  readonly problems: readonly string[]
  /** Samples, each a series. */
  readonly seriesCount: number
  /** The value of one series, or undefined. */
  value(name: string, labels?: Record<string, string>): number | undefined
  /** Over all series of a name that have these labels. */
  sum(name: string, labels?: Record<string, string>): number
}

const HELP = /^# HELP ([a-zA-Z_:][a-zA-Z0-9_:]*) (.*)$/
const TYPE = /^# TYPE ([a-zA-Z_:][a-zA-Z0-9_:]*) (counter|gauge|histogram|summary|untyped)$/
const SAMPLE = /^([a-zA-Z_:][a-zA-Z0-9_:]*)(?:\{(.*)\})? ([^ ]+)(?: -?\d+)?$/
const LABEL = /([a-zA-Z_][a-zA-Z0-9_]*)="((?:[^"\\\n]|\\["\\n])*)"(?:,|$)/y
/** As Go's ParseFloat reads it: NaN and Inf in any case, and prom-client writes `Nan`. */
const NUMBER = /^(?:[+-]?(?:\d+\.?\d*|\.\d+)(?:e[+-]?\d+)?|[+-]?Inf|NaN)$/i

export function readExposition(text: string): Exposition {
  const reader = new Reader()
  if (!text.endsWith('\n')) reader.problems.push('the last line has no end')
  for (const line of text.replace(/\n$/, '').split('\n')) reader.read(line)
  reader.finish()
  const samples = [...reader.families.values()].flatMap((family) => family.samples)
  const having = (name: string, labels: Record<string, string> = {}) =>
    samples.filter(
      (sample) =>
        sample.name === name && Object.entries(labels).every(([key, value]) => sample.labels[key] === value),
    )
  return {
    families: reader.families,
    problems: reader.problems,
    seriesCount: samples.length,
    value: (name, labels) => having(name, labels)[0]?.value,
    sum: (name, labels) => having(name, labels).reduce((sum, { value }) => sum + value, 0),
  }
}

class Reader {
  readonly families = new Map<string, Family>()
  readonly problems: string[] = []
  readonly #seen = new Set<string>()
  #help: { readonly name: string; readonly text: string } | null = null
  #current: Family | null = null

  read(line: string): void {
    const [, helpName, help] = HELP.exec(line) ?? []
    const [, typeName, type] = TYPE.exec(line) ?? []
    if (line === '') this.#closeFamily()
    else if (helpName !== undefined) this.#openHelp(helpName, help ?? '', line)
    else if (typeName !== undefined) this.#openFamily(typeName, type as MetricType, line)
    else if (line.startsWith('#')) this.problems.push(`a comment that is neither HELP nor TYPE: ${line}`)
    else this.#readSample(line)
  }

  finish(): void {
    if (this.#help !== null) this.problems.push(`HELP without TYPE: ${this.#help.name}`)
    for (const family of this.families.values()) {
      if (family.type === 'histogram') this.problems.push(...histogramProblems(family))
      if (family.type === 'counter') this.problems.push(...counterProblems(family))
    }
  }

  #closeFamily(): void {
    this.#current = null
  }

  #openHelp(name: string, text: string, line: string): void {
    if (this.#help !== null || text.trim() === '') this.problems.push(`HELP twice, or empty: ${line}`)
    this.#help = { name, text }
    this.#current = null
  }

  #openFamily(name: string, type: MetricType, line: string): void {
    if (this.#help?.name !== name) this.problems.push(`TYPE without its HELP before it: ${line}`)
    if (this.families.has(name)) this.problems.push(`TYPE twice: ${line}`)
    this.#current = { name, help: this.#help?.text ?? '', type, samples: [] }
    this.families.set(name, this.#current)
    this.#help = null
  }

  #readSample(line: string): void {
    const [, name = '', labelText = '', number = ''] = SAMPLE.exec(line) ?? []
    const labels = readLabels(labelText)
    if (name === '' || labels === null || !NUMBER.test(number)) this.problems.push(`not a sample: ${line}`)
    else if (this.#current === null || !belongs(name, this.#current)) {
      this.problems.push(`a sample outside of its family: ${line}`)
    } else {
      const series = name + keyOf(labels)
      if (this.#seen.has(series)) this.problems.push(`a series twice: ${line}`)
      this.#seen.add(series)
      this.#current.samples.push({ name, labels, value: valueOf(number) })
    }
  }
}

function readLabels(text: string): Record<string, string> | null {
  const labels: Record<string, string> = {}
  LABEL.lastIndex = 0
  let end = 0
  for (let match = LABEL.exec(text); match !== null; match = LABEL.exec(text)) {
    const [, name = '', value = ''] = match
    if (name in labels) return null
    labels[name] = value
    end = LABEL.lastIndex
    if (end === text.length) break
  }
  return end === text.length ? labels : null
}

/** Samples of histograms and summaries have suffixes; others have the name of the family. */
function belongs(name: string, { name: family, type }: Family): boolean {
  if (type === 'histogram') return [`${family}_bucket`, `${family}_sum`, `${family}_count`].includes(name)
  if (type === 'summary') return [family, `${family}_sum`, `${family}_count`].includes(name)
  return name === family
}

function valueOf(number: string): number {
  return /inf$/i.test(number) ? Number(number.replace(/inf$/i, 'Infinity')) : Number(number)
}

function counterProblems({ name, samples }: Family): string[] {
  return [
    ...(name.endsWith('_total') ? [] : [`a counter that is not called _total: ${name}`]),
    ...samples.filter(({ value }) => !(value >= 0)).map(() => `a counter below zero: ${name}`),
  ]
}

/** Buckets rise, +Inf exists and equals the count, and the sum is 0 if the count is. */
function histogramProblems({ name, samples }: Family): string[] {
  const series = groups(samples)
  return [...series.values()].flatMap((own) => {
    const buckets = own.filter((sample) => sample.name === `${name}_bucket`)
    const bounds = buckets.map(({ labels }) => valueOf(labels['le'] ?? 'NaN'))
    const counts = buckets.map(({ value }) => value)
    const count = own.find((sample) => sample.name === `${name}_count`)?.value
    const sum = own.find((sample) => sample.name === `${name}_sum`)?.value
    return [
      ...(isRising(bounds, true) && bounds.at(-1) === Number.POSITIVE_INFINITY ? [] : [`bounds of ${name}`]),
      ...(isRising(counts, false) ? [] : [`buckets of ${name} are not cumulative`]),
      ...(counts.at(-1) === count ? [] : [`the last bucket of ${name} is not its count`]),
      ...(sum !== undefined && sum >= 0 && (count !== 0 || sum === 0) ? [] : [`the sum of ${name}`]),
    ]
  })
}

/** The samples of each histogram, by all labels but `le`. */
function groups(samples: readonly Sample[]): Map<string, Sample[]> {
  const found = new Map<string, Sample[]>()
  for (const sample of samples) {
    const { le: _, ...labels } = sample.labels
    const key = keyOf(labels)
    found.set(key, [...(found.get(key) ?? []), sample])
  }
  return found
}

/** Equal for equal labels in any order. */
function keyOf(labels: Readonly<Record<string, string>>): string {
  return Object.entries(labels)
    .map((label) => JSON.stringify(label))
    .toSorted()
    .join()
}

function isRising(values: readonly number[], strictly: boolean): boolean {
  return values.every((value, i) => {
    const before = values[i - 1]
    return before === undefined || (strictly ? value > before : value >= before)
  })
}
