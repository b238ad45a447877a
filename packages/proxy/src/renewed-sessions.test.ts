/** Sessions that are renewed while an answer is on its way: they go to one client, and to no cache. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { Guard } from '@ringwall/guard'
import { ask, cachingProxy } from './test-cache.ts'
import { testGuard } from './test-ring.ts'

/** Everybody is logged in, with a session of which half is over. */
function loggedIn(): Guard {
  const guard = testGuard()
  return {
    ...guard,
    head: (request, environment) => {
      const judgement = guard.head(request, environment)
      if (judgement instanceof Promise) return judgement
      return { ...judgement, session: { token: 'old', isHalfOver: true } } as typeof judgement
    },
  }
}

test('a renewed session goes to its client, but not with an answer that caches are invited to keep', async () => {
  const controls: Record<string, string | undefined> = {
    '/page': undefined,
    '/own': 'private, max-age=60',
    '/asked': 'no-cache',
    '/kept': 'max-age=60',
    '/shared': 'public',
  }
  const ring = await cachingProxy(
    (request, response) => {
      const control = controls[request.url!]
      setTimeout(() => response.writeHead(200, control === undefined ? {} : { 'cache-control': control }).end('x'), 30)
    },
    {},
    {},
    {
      guard: loggedIn(),
      portal: { answer: () => Promise.reject(new Error('no page')), renew: async () => ({ token: 'new', forS: 60 }) },
    },
  )
  const cookies = async (path: string): Promise<readonly string[]> => {
    const { headers } = await ask(ring.port, path)
    return [headers['set-cookie'] ?? []].flat()
  }
  for (const path of ['/page', '/own', '/asked']) assert.match((await cookies(path)).join(), /^ringwall_session=new; /, path)
  for (const path of ['/kept', '/kept', '/shared']) assert.deepEqual(await cookies(path), [], path)
  await ring.close()
})
