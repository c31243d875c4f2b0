import { announcedSince } from './announcement-operations.ts'
import * as answers from './answer-operations.ts'
import * as coolDowns from './cool-down-operations.ts'
import { maintain } from './maintenance.ts'
import type { Operation } from './operation.ts'
import * as pacing from './pacing-operations.ts'
import { purge, purgeAll } from './purge-operations.ts'
import { applyQuota } from './quota-operations.ts'
import * as tokens from './token-operations.ts'
import { noteUses, recentlyUsed } from './use-order.ts'

/** What the stores ask the store thread for, by name. */
export const OPERATIONS = {
  leaseGet: answers.answerOrLease,
  renew: answers.renewLease,
  publish: answers.publish,
  release: answers.releaseLease,
  purge,
  purgeAll,
  readAnswers: answers.readAnswers,
  recentlyUsed,
  noteUses,
  takeToken: tokens.takeToken,
  passGate: tokens.passGate,
  callArrived: tokens.callArrived,
  quota: applyQuota,
  getCoolDown: coolDowns.getCoolDown,
  setCoolDown: coolDowns.setCoolDown,
  clearCoolDown: coolDowns.clearCoolDown,
  acquireProbe: coolDowns.acquireProbe,
  releaseProbe: coolDowns.releaseProbe,
  exchangePrice: pacing.exchangePrice,
  loadLearned: pacing.loadLearned,
  saveLearned: pacing.saveLearned,
  chargeUnknownIds: pacing.chargeUnknownIds,
  announcedSince,
  maintain,
} satisfies Readonly<Record<string, Operation>>

export type OperationName = keyof typeof OPERATIONS
