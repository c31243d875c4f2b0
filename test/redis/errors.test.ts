import t from 'tap'
import { describeRedisError, TIMED_OUT } from '../../src/redis/errors.ts'

const reply = (message: string) => Object.assign(new Error(message), { name: 'ReplyError' })

await t.test('a Redis error is described without the text of the server', async (t) => {
  const described = [
    reply("NOPERM this user has no permissions to run the 'set' command"),
    reply("ERR The user executing the script can't run this command or subcommand"),
    reply("ERR ACL failure in script: User u has no permissions to run the 'set' command"),
    reply('OOM command not allowed'),
    reply('EXECABORT of s3cret'),
    reply('s3cret'),
    Object.assign(new Error('All nodes failed'), { lastNodeError: reply('WRONGPASS s3cret') }),
    new Error(TIMED_OUT),
    Object.assign(new Error('connect s3cret'), { code: 'ECONNREFUSED' }),
    new Error('s3cret'),
  ].map(describeRedisError)
  t.strictSame(described, [
    'the user may not run a required command',
    'the user may not run a required command',
    'the user may not run a required command',
    'the memory of the server is full and nothing may be evicted',
    'the server rejected a command (EXECABORT)',
    'the server rejected a command (unclear)',
    'the user or the password is wrong',
    'a command timed out',
    'no connection (ECONNREFUSED)',
    'no connection',
  ])
})
