import t from 'tap'
import {
  asServiceError,
  invalidParameter,
  malformedRequest,
  missingParameter,
  ServiceError,
  STATUS_OF,
} from '../src/errors.ts'
import type { ErrorCode } from '../src/errors.ts'

const CODES = Object.keys(STATUS_OF) as ErrorCode[]

await t.test('a ServiceError has the status of its code', async (t) => {
  t.strictSame(
    CODES.map((code) => new ServiceError(code).status),
    Object.values(STATUS_OF),
  )
})

await t.test(
  'a ServiceError has a public message of its own for every code but the parameter errors',
  async (t) => {
    const messages = CODES.map((code) => new ServiceError(code).message)
    t.equal(messages.filter((message) => message === 'The request is not valid.').length, 2)
    t.equal(new Set(messages).size, CODES.length - 1)
  },
)

await t.test('public texts contain neither the reason nor the cause', async (t) => {
  const errors = CODES.map((code) => new ServiceError(code, { reason: 'secret', cause: new Error('secret') }))
  t.strictSame(
    errors.filter(({ message, detail }) => `${message} ${detail}`.includes('secret')),
    [],
  )
})

await t.test('a ServiceError is frozen, because waiters share it', async (t) => {
  t.ok(Object.isFrozen(new ServiceError('NotFound')))
})

await t.test('parameter errors name the parameter and its rule', async (t) => {
  t.match(missingParameter('a'), {
    code: 'MissingParameter',
    message: "Missing parameter 'a'",
    detail: "Missing required parameter 'a'.",
  })
  t.match(invalidParameter('a', 'must be given once'), {
    code: 'InvalidParameter',
    message: "Invalid parameter 'a'",
    detail: "Parameter 'a' must be given once.",
  })
  t.match(malformedRequest('The target is not valid'), {
    code: 'InvalidParameter',
    message: 'Malformed request',
    detail: 'The target is not valid.',
  })
})

await t.test('asServiceError returns a ServiceError unchanged', async (t) => {
  const error = new ServiceError('NotFound')
  t.equal(asServiceError(error), error)
})

await t.test(
  'asServiceError makes any other value an InternalError with the value as its cause',
  async (t) => {
    const error = new TypeError('a bug')
    t.match(asServiceError(error), { code: 'InternalError', cause: error })
    t.match(asServiceError('text'), { code: 'InternalError', cause: 'text' })
  },
)
