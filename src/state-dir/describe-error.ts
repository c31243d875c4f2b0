/** Why the store cannot be used. Messages of lmdb are short and contain no value. */
export function describeStoreError(error: unknown): string {
  const { code = '', message = '' } = error as { readonly code?: unknown; readonly message?: string }
  if (/ENOSPC|EDQUOT|no space left|quota exceeded|MAP_FULL/i.test(`${String(code)} ${message}`)) {
    return 'the disk is full'
  }
  return message === '' ? 'unknown' : message
}
