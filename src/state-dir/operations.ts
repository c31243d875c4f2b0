import { announcedSince } from './announcement-operations.ts'
import * as answers from './answer-operations.ts'
import * as coolDowns from './cool-down-operations.ts'
import { maintain } from './maintenance.ts'
import type { Operation } from './operation.ts'
import * as pacing from './pacing-operations.ts'
import { purge, purgeAll } from './purge-operations.ts'
import { readQuota, updateQuota } from './quota-operations.ts'
import { takeToken } from './token-operations.ts'
import { noteUses, recentlyUsed } from './use-order.ts'

/** What the stores ask the store thread for, by name. */
export const OPERATIONS = {
  leaseGet: { read: answers.readAnswerOrLease, write: answers.acquireLease },
  peek: { read: answers.readOnly },
  renew: { write: answers.renewLease },
  publish: { write: answers.publish },
  release: { write: answers.releaseLease },
  purge: { write: purge },
  purgeAll: { write: purgeAll },
  readAnswers: { read: answers.readAnswers },
  recentlyUsed: { read: recentlyUsed },
  noteUses: { write: noteUses },
  takeToken: { write: takeToken },
  quota: { read: readQuota, write: updateQuota },
  getCoolDown: { read: coolDowns.getCoolDown },
  setCoolDown: { write: coolDowns.setCoolDown },
  clearCoolDown: { write: coolDowns.clearCoolDown },
  acquireProbe: { write: coolDowns.acquireProbe },
  releaseProbe: { write: coolDowns.releaseProbe },
  exchangePrice: { write: pacing.exchangePrice },
  loadLearned: { read: pacing.loadLearned },
  saveLearned: { write: pacing.saveLearned },
  chargeUnknownIds: { read: pacing.readUnknownIds, write: pacing.chargeUnknownIds },
  announcedSince: { read: announcedSince },
  maintain: { write: maintain },
} satisfies Readonly<Record<string, Operation>>

export type OperationName = keyof typeof OPERATIONS
