/** Cedar policies from a file, through a node: the proxy, `ringwall can` and AuthZEN say the same. */
import assert from 'node:assert/strict'
import { writeFileSync } from 'node:fs'
import type { IncomingMessage } from 'node:http'
import { join } from 'node:path'
import type { Duplex } from 'node:stream'
import { after, before, test } from 'node:test'
import { OperatorSigner, parseContext } from '@ringwall/client'
import { startTestNode, type TestNode } from './test-node.ts'
import { bearer, ISSUER, issuerYaml, openWebSocket, token, webSocketEcho } from './test-tokens.ts'

let ring: TestNode
before(async () => {
  ring = await startTestNode('', (request: IncomingMessage, socket: Duplex) => webSocketEcho(request, socket))
  const applied = await apply(CEDAR)
  assert.equal(applied.code, 0, applied.stderr)
})
after(() => ring.stop())

const CEDAR = `// Who may do what with the application.
@id("staff-reads")
permit (principal in Group::"staff", action in Action::"read", resource);

@id("refunds")
permit (principal in Role::"clerk", action == Action::"refund", resource);

@id("no-interns")
forbid (principal in Group::"interns", action, resource)
when { resource.path like "/secret/*" };

@id("front-page")
permit (principal, action == Action::"GET", resource) when { resource.path == "/" };
`

const document = (): string => `version: 1
services:
  app:
    upstreams: [{ url: "${ring.upstream}" }]
    waf: { mode: "off" }
    authorization:
      file: app.cedar
    routes:
      - { name: refunds, path: /refunds, methods: [POST], action: refund }
${issuerYaml()}tests:
  - { name: staff reads, request: { path: /a, token: { issuer: "${ISSUER}", claims: { groups: [staff] } } }, expect: allow }
  - { name: nobody else does, request: { path: /a }, expect: { outcome: deny, status: 401, rule: "authorization:default" } }
`

async function apply(cedar: string, text = document()) {
  writeFileSync(join(ring.folder, 'app.cedar'), cedar)
  writeFileSync(join(ring.folder, 'ringwall.yaml'), text)
  return ring.run('policy', 'apply', '--yes')
}

const status = async (path: string, claims?: object, method = 'GET'): Promise<number> =>
  (await ring.ask(path, { method, ...(claims === undefined ? {} : { headers: bearer(token({ sub: 'ann', ...claims })) }) }))
    .status

test('what no policy permits is refused, and explain names policy, height and node', async () => {
  assert.equal(await status('/'), 200)
  assert.equal(await status('/a'), 401)
  assert.equal(await status('/a', { groups: ['staff'] }), 200)
  assert.equal(await status('/a', { groups: ['staff'] }, 'POST'), 403)
  assert.equal(await status('/refunds', { roles: ['clerk'] }, 'POST'), 200)
  assert.equal(await status('/refunds', { groups: ['staff'] }, 'POST'), 403)
  const { id } = await ring.ask('/secret/plan', { headers: bearer(token({ sub: 'ann', groups: ['staff', 'interns'] })) })
  const told = await ring.run('explain', id)
  assert.match(told.stdout, /DENY 403/)
  assert.match(told.stdout, /decided +by authorization, authorization:no-interns/)
  assert.match(told.stdout, /because +the policy no-interns of app forbids it/)
  assert.match(told.stdout, /node +\S+ in /)
  assert.match(told.stdout, /view +height \d+/)
})

test('ringwall can says what a request is told, and why', async () => {
  const cases: readonly (readonly [args: readonly string[], code: number, says: RegExp])[] = [
    [['anonymous', 'GET', 'app'], 0, /^allowed\n$/],
    [['anonymous', 'GET', 'app/a'], 1, /^denied: no policy of app permits it\n$/],
    [['ann', 'GET', 'app/a', '--group', 'staff'], 0, /^allowed\n$/],
    [['ann', 'GET', 'http://app.example/a', '--group', 'staff'], 0, /^allowed\n$/],
    [['ann', 'refund', 'app/refunds/7', '--role', 'clerk'], 0, /^allowed\n$/],
    [
      ['ann', 'GET', 'app/secret/x', '--claim', 'groups=["staff","interns"]'],
      1,
      /^denied: the policy no-interns of app forbids it/,
    ],
    [['https://other.example#ann', 'GET', 'app/a'], 1, /^denied/],
  ]
  for (const [args, code, says] of cases) {
    const told = await ring.run('can', ...args)
    assert.match(told.stdout, says, args.join(' '))
    assert.equal(told.code, code, args.join(' '))
  }
  const why = await ring.run('can', 'ann', 'refund', 'app/refunds', '--group', 'staff', '--explain')
  assert.match(why.stdout, /denied 403\n {2}principal https:\/\/id\.example#ann\n {2}action {4}refund \(POST\)/)
  assert.match(why.stdout, /resource +app\/refunds, route refunds\n {2}decided +by authorization, authorization:default/)
  assert.match(why.stdout, /policy 2 at height \d+, on \S+/)
  for (const [args, says] of [
    [['ann', 'fly', 'app/a'], /no route at \/a is for the action fly/],
    [['ann', 'GET', 'nothing/a'], /the policy has no service nothing; it has app/],
    [['ann', 'GET', 'app/a', '--source', 'x'], /x is no IP address/],
    [['ann', 'GET', 'App'], /expected SERVICE/],
    [['anonymous', 'GET', 'app', '--group', 'x'], /has no claims/],
  ] as const) {
    const told = await ring.run('can', ...args)
    assert.match(told.stderr, says)
    assert.notEqual(told.code, 0)
  }
  const told = await ring.run('session', 'revoke', 's-77')
  assert.equal(told.code, 0, told.stderr)
  const denied = await ring.run('can', 'ann', 'GET', 'app/a', '--group', 'staff', '--claim', 'sid=s-77')
  assert.match(denied.stdout, /^denied: by hand/)
})

test('AuthZEN: one evaluation, many with defaults, and what ends early', async () => {
  const evaluation = (path: string, more: object = {}) => ({ resource: { type: 'path', id: `app${path}` }, ...more })
  const staff = { type: 'user', id: 'ann', properties: { groups: ['staff'] } }
  const one = await authzen('evaluation', { subject: staff, action: { name: 'GET' }, ...evaluation('/a') })
  assert.deepEqual([one.status, one.body.decision, one.body.context.check], [200, true, 'none'])
  const no = await authzen('evaluation', { subject: { type: 'anonymous', id: '' }, action: { name: 'GET' }, ...evaluation('/a') })
  assert.deepEqual([no.body.decision, no.body.context.rule], [false, 'authorization:default'])
  assert.ok(no.body.context.height >= 0 && no.body.context.node !== '')
  const defaults = { subject: staff, action: { name: 'GET' } }
  const evaluations = [
    evaluation('/a'),
    evaluation('/a', { action: { name: 'DELETE' } }),
    evaluation('/b', { subject: { type: 'robot', id: 'r' } }),
    evaluation('/'),
  ]
  const all = await authzen('evaluations', { ...defaults, evaluations })
  assert.deepEqual(
    all.body.evaluations.map(({ decision }) => decision),
    [true, false, false, true],
  )
  assert.match(JSON.stringify(all.body.evaluations[2]), /type robot is not known/)
  const lengths = []
  for (const evaluations_semantic of ['deny_on_first_deny', 'permit_on_first_permit'])
    lengths.push(
      (await authzen('evaluations', { ...defaults, evaluations, options: { evaluations_semantic } })).body.evaluations.length,
    )
  assert.deepEqual(lengths, [2, 1])
  const single = await authzen('evaluations', { ...defaults, ...evaluation('/a') })
  assert.equal(single.body.decision, true)
  assert.equal((await authzen('evaluation', { subject: staff })).status, 400)
  assert.equal((await authzen('evaluation', { subject: staff, action: { name: 'GET' }, ...evaluation('/a') }, '')).status, 401)
})

interface Answer {
  readonly decision: boolean
  readonly context: { readonly check: string; readonly rule: string; readonly height: number; readonly node: string }
  readonly evaluations: readonly { readonly decision: boolean }[]
}

async function authzen(name: string, body: object, authorization?: string): Promise<{ status: number; body: Answer }> {
  const context = parseContext(ring.contextText())
  const signed = authorization ?? `Bearer ${await new OperatorSigner(context).token()}`
  const response = await fetch(`${context.nodes[0]!.url}/access/v1/${name}`, {
    method: 'POST',
    headers: { 'content-type': 'application/json', authorization: signed },
    body: JSON.stringify(body),
  })
  return { status: response.status, body: (await response.json()) as Answer }
}

test('a policy that lets somebody in no more ends what they have open; others go on', async () => {
  const staff = await openWebSocket(ring.port, token({ sub: 'ann', groups: ['staff'] }))
  const clerk = await openWebSocket(ring.port, token({ sub: 'bob', groups: ['staff', 'night'] }))
  const applied = await apply(`${CEDAR}@id("night-only") forbid (principal, action, resource)
unless { principal in Group::"night" || resource.path == "/a" };\n`)
  assert.equal(applied.code, 0, applied.stderr)
  await staff.closed
  assert.ok(clerk.isOpen())
  clerk.socket.close()
  const back = await apply(CEDAR)
  assert.equal(back.code, 0, back.stderr)
})

test('mistakes are told by file, line and column; a policy that fails its own tests is refused', async () => {
  const typo = await apply(CEDAR.replace('resource.path like', 'resource.pth like'))
  assert.equal(typo.code, 1)
  assert.match(typo.stderr, /app\.cedar:10:8: attribute `pth` on entity type `Path` not found .*did you mean `path`\?/)
  const later = await apply(CEDAR, document().replace('expect: allow', 'expect: alow'))
  assert.match(later.stderr, /ringwall\.yaml:1[0-9]:\d+: expected allow, deny/)
  const strict = await apply(CEDAR.replace('"staff"', '"crew"'))
  assert.match(
    strict.stderr,
    /ringwall\.yaml:\d+:\d+: .*staff reads fails: expected allow, got deny 403 by authorization:default/,
  )
  const missing = await apply(CEDAR, document().replace('app.cedar', 'nowhere.cedar'))
  assert.match(missing.stderr, /nowhere\.cedar: the Cedar policies cannot be read/)
  const both = await apply(CEDAR, document().replace('      file: app.cedar', '      file: app.cedar\n      policies: ""'))
  assert.match(both.stderr, /keep policies or file, not both/)
})

const plainDocument = (of: string): string => `version: 1
services:
  app:
    upstreams: [{ url: "${ring.upstream}" }]
    waf: { mode: "off" }
${of}${issuerYaml()}`

test('callers: can answers for services; what is open ends when the policy names others, with and without a token', async () => {
  const before = await apply('', plainDocument(''))
  assert.equal(before.code, 0, before.stderr)
  const open = await openWebSocket(ring.port, token({ sub: 'ann' }))
  const staying = await openWebSocket(ring.port, token({ sub: 'bob' }))
  assert.equal(await status('/a'), 200)
  const tests =
    'tests:\n  - { name: billing calls, request: { path: /a, caller: service/billing }, expect: allow }\n  - { name: shop does not, request: { path: /a, caller: service/shop }, expect: { outcome: deny, status: 403, rule: "callers:app" } }\n'
  const applied = await apply(
    '',
    `${plainDocument('    callers: [service/billing]\n    routes: [{ name: a, path: /b, callers: [people] }]\n')}${tests}`,
  )
  assert.equal(applied.code, 0, applied.stderr)
  await Promise.all([open.closed, staying.closed])
  assert.deepEqual([await status('/a'), await status('/a', {}), await status('/b', {})], [401, 403, 200])
  for (const [args, code, says] of [
    [['service/billing', 'GET', 'app/a'], 0, /^allowed\n$/],
    [['service/shop', 'GET', 'app/a'], 1, /^denied: spiffe:\/\/[0-9a-f]{64}\/service\/shop is none of the callers of app\n$/],
    [['ann', 'GET', 'app/a'], 1, /^denied: somebody who is no service is none of the callers/],
    [['ann', 'GET', 'app/a', '--caller', 'service/billing'], 0, /^allowed\n$/],
    [['ann', 'GET', 'app/b'], 0, /^allowed\n$/],
    [['service/billing', 'GET', 'app/b'], 1, /^denied/],
  ] as const) {
    const told = await ring.run('can', ...args)
    assert.match(told.stdout, says, `${args.join(' ')} ${told.stderr}`)
    assert.equal(told.code, code)
  }
  for (const [args, says] of [
    [['spiffe://other/service/billing', 'GET', 'app/a'], /is not of this ring/],
    [['service/billing', 'GET', 'app/a', '--group', 'x'], /a certificate has no claims/],
    [['service/a', 'GET', 'app/a', '--caller', 'service/b'], /leave --caller out/],
  ] as const)
    assert.match((await ring.run('can', ...args)).stderr, says)
  const asked = { action: { name: 'GET' }, resource: { type: 'path', id: 'app/a' } }
  const decisions = await Promise.all(
    ['billing', 'service/shop'].map(
      async (id) => (await authzen('evaluation', { subject: { type: 'service', id }, ...asked })).body.decision,
    ),
  )
  assert.deepEqual(decisions, [true, false])
})

const XACML = `<?xml version="1.0" encoding="UTF-8"?>
<Policy xmlns="urn:oasis:names:tc:xacml:3.0:core:schema:wd-17" PolicyId="app" Version="1.0"
        RuleCombiningAlgId="urn:oasis:names:tc:xacml:3.0:rule-combining-algorithm:deny-unless-permit">
  <Target/>
  <Rule RuleId="staff-reads" Effect="Permit">
    <Condition>
      <Apply FunctionId="urn:oasis:names:tc:xacml:1.0:function:string-is-in">
        <AttributeValue DataType="http://www.w3.org/2001/XMLSchema#string">staff</AttributeValue>
        <AttributeDesignator Category="urn:oasis:names:tc:xacml:1.0:subject-category:access-subject" MustBePresent="false"
          AttributeId="urn:ringwall:subject:group" DataType="http://www.w3.org/2001/XMLSchema#string"/>
      </Apply>
    </Condition>
  </Rule>
</Policy>
`

test('XACML from a file is a service’s authorization: proxy, can and AuthZEN say the same, mistakes come by line and column', async () => {
  const text = plainDocument('    authorization:\n      language: xacml\n      file: app.cedar\n')
  const applied = await apply(XACML, text)
  assert.equal(applied.code, 0, applied.stderr)
  assert.deepEqual([await status('/a'), await status('/a', {}), await status('/a', { groups: ['staff'] })], [401, 403, 200])
  assert.match((await ring.run('can', 'ann', 'GET', 'app/a', '--group', 'staff')).stdout, /^allowed/)
  const why = await ring.run('can', 'ann', 'GET', 'app/a', '--explain')
  assert.match(why.stdout, /decided +by authorization, authorization:app\n +because +the policy app of app forbids it/)
  const subject = { type: 'user', id: 'ann', properties: { groups: ['staff'] } }
  const answer = await authzen('evaluation', { subject, action: { name: 'GET' }, resource: { type: 'path', id: 'app/a' } })
  assert.equal(answer.body.decision, true)
  const typo = await apply(XACML.replace('string-is-in', 'string-is-inn'), text)
  assert.equal(typo.code, 1)
  assert.match(typo.stderr, /app\.cedar:7:7: the function \S+string-is-inn is not known \(XACML 7:7\)/)
  writeFileSync(join(ring.folder, 'policy.xml'), XACML)
  writeFileSync(
    join(ring.folder, 'request.json'),
    '{"Request":{"AccessSubject":{"Attribute":[{"AttributeId":"urn:ringwall:subject:group","Value":"staff"}]}}}',
  )
  const [policy, request] = [join(ring.folder, 'policy.xml'), join(ring.folder, 'request.json')]
  assert.match((await ring.run('xacml', 'check', policy)).stdout, /^Policy app, version 1\.0: well\n$/)
  assert.match((await ring.run('xacml', 'evaluate', policy, request)).stdout, /^\{"Response":\[\{"Decision":"Permit"/)
  writeFileSync(policy, XACML.replace('</Policy>', ''))
  const broken = await ring.run('xacml', 'check', policy)
  assert.deepEqual([broken.code, /policy\.xml:\d+:1: <Policy> is not closed/.test(broken.stderr)], [2, true], broken.stderr)
})
