/** The proxy and `ringwall can` agree: some hundred of the requests of `npm run e2e:can`. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { agreement } from './can-scene.ts'

test('300 generated requests by certificates, tokens, both and neither: the proxy and can say the same', async () => {
  const { counts, differences } = await agreement(300, 1)
  assert.deepEqual(differences, [])
  for (const status of [200, 401, 403, 404]) assert.ok((counts.get(status) ?? 0) > 0, `some get ${status}`)
})
