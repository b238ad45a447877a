/** Envoy's way to certificates, asked by `@grpc/grpc-js` with messages of Envoy's own shapes, as protobufjs makes and reads them. */
import assert from 'node:assert/strict'
import { createPrivateKey, createPublicKey, X509Certificate } from 'node:crypto'
import { after, type TestContext, test } from 'node:test'
import {
  type ClientDuplexStream,
  type ClientReadableStream,
  credentials,
  makeGenericClientConstructor,
  type ServiceError,
} from '@grpc/grpc-js'
import { spiffeId } from '@ringwall/identity'
import { createDenialIndex } from '@ringwall/ring'
import protobuf from 'protobufjs'
import { RING, Signers } from '../signing/test-signers.ts'
import { skip, startWorkloadApi } from './test-workload-api.ts'

const signers = new Signers(2, 2)
const { view } = signers
after(() => signers.stop())

/** Names and numbers of Envoy's API, version 3, as far as they come up here. */
const { root } = protobuf.parse(
  `syntax = "proto3";
  message Any { string type_url = 1; bytes value = 2; }
  message Status { int32 code = 1; string message = 2; }
  message Node { string id = 1; string cluster = 2; string user_agent_name = 6; }
  message DiscoveryRequest {
    string version_info = 1; Node node = 2; repeated string resource_names = 3; string type_url = 4; string response_nonce = 5; Status error_detail = 6;
  }
  message DiscoveryResponse { string version_info = 1; repeated Any resources = 2; bool canary = 3; string type_url = 4; string nonce = 5; }
  message DataSource { oneof specifier { string filename = 1; bytes inline_bytes = 2; string inline_string = 3; string environment_variable = 4; } }
  message TlsCertificate { DataSource certificate_chain = 1; DataSource private_key = 2; }
  message TypedExtensionConfig { string name = 1; Any typed_config = 2; }
  message CertificateValidationContext { DataSource trusted_ca = 1; TypedExtensionConfig custom_validator_config = 12; }
  message Secret { string name = 1; oneof type { TlsCertificate tls_certificate = 2; CertificateValidationContext validation_context = 4; } }
  message TrustDomain { string name = 1; DataSource trust_bundle = 2; }
  message SPIFFECertValidatorConfig { repeated TrustDomain trust_domains = 1; }`,
  { keepCase: true },
)
const SECRET = 'type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.Secret'
const asked = root.lookupType('DiscoveryRequest')
const answered = root.lookupType('DiscoveryResponse')

interface Asked {
  readonly version_info?: string
  readonly resource_names?: readonly string[]
  readonly type_url?: string
  readonly response_nonce?: string
  readonly error_detail?: { readonly code: number; readonly message: string }
}
interface Source {
  readonly inline_bytes: Buffer
}
interface Secret {
  readonly name: string
  readonly tls_certificate?: { readonly certificate_chain: Source; readonly private_key: Source }
  readonly validation_context?: {
    readonly trusted_ca?: Source
    readonly custom_validator_config?: {
      readonly name: string
      readonly typed_config: { readonly type_url: string; readonly value: Buffer }
    }
  }
}
interface Answered {
  readonly version_info: string
  readonly nonce: string
  readonly type_url: string
  readonly secrets: readonly Secret[]
}

const toBytes = (request: Asked): Buffer =>
  Buffer.from(
    asked
      .encode(asked.fromObject({ type_url: SECRET, node: { id: 'n', cluster: 'c', user_agent_name: 'envoy' }, ...request }))
      .finish(),
  )

function fromBytes(bytes: Buffer): Answered {
  const read = answered.toObject(answered.decode(bytes), { defaults: true }) as {
    version_info: string
    nonce: string
    type_url: string
    resources: { type_url: string; value: Buffer }[]
  }
  const secret = root.lookupType('Secret')
  return {
    ...read,
    secrets: read.resources.map(({ type_url, value }) => {
      assert.equal(type_url, SECRET)
      return secret.toObject(secret.decode(value)) as Secret
    }),
  }
}

const PATH = '/envoy.service.secret.v3.SecretDiscoveryService/'
const shape = {
  requestSerialize: toBytes,
  requestDeserialize: (): Asked => ({}),
  responseSerialize: (): Buffer => Buffer.alloc(0),
  responseDeserialize: fromBytes,
}
const Client = makeGenericClientConstructor(
  {
    StreamSecrets: { path: `${PATH}StreamSecrets`, requestStream: true, responseStream: true, ...shape },
    FetchSecrets: { path: `${PATH}FetchSecrets`, requestStream: false, responseStream: false, ...shape },
    DeltaSecrets: { path: `${PATH}DeltaSecrets`, requestStream: true, responseStream: true, ...shape },
  },
  'SecretDiscoveryService',
)

async function scene(t: TestContext, services = ['billing', 'shop']) {
  const { socket, said, change, services: workloads } = await startWorkloadApi(t, signers, view, services)
  const client = new Client(`unix://${socket}`, credentials.createInsecure())
  t.after(() => client.close())
  const stream = () => {
    const call = (client.StreamSecrets as () => ClientDuplexStream<Asked, Answered>).call(client)
    const answers: Answered[] = []
    const ended: ServiceError[] = []
    call.on('data', (one: Answered) => answers.push(one))
    call.on('error', (error: ServiceError) => ended.push(error))
    t.after(() => call.cancel())
    return { call, answers, ended }
  }
  const fetch = (request: Asked) =>
    new Promise<Answered | ServiceError>((settle) => {
      const unary = client.FetchSecrets as unknown as (
        request: Asked,
        done: (error: ServiceError | null, got: Answered) => void,
      ) => void
      unary.call(client, request, (error, got) => settle(error ?? got))
    })
  const renew = (): void => {
    const issuedAtMs = Date.now()
    const subject = { kind: 'issued-before', value: new Date(issuedAtMs).toISOString() } as const
    const at = { issuedAtMs, expiresAtMs: issuedAtMs + 600_000, height: 1 }
    change({ denials: createDenialIndex([{ id: '0'.repeat(16), subject, reason: 'a test', issuer: 'operator:ada', ...at }]) })
  }
  return { client, stream, fetch, said, workloads, renew }
}

async function until(what: string, holds: () => boolean): Promise<void> {
  for (let waits = 0; !holds() && waits < 4_000; waits += 1) await new Promise((wake) => setTimeout(wake, 5))
  assert.ok(holds(), what)
}

const idOf = (service: string): string => spiffeId(RING, 'service', service)

/** Of a secret with a certificate: whose it is, once its key was seen to fit. */
function subjectOf({ tls_certificate }: Secret): string {
  assert.ok(tls_certificate !== undefined)
  const certificate = new X509Certificate(tls_certificate.certificate_chain.inline_bytes)
  const key = createPrivateKey(tls_certificate.private_key.inline_bytes)
  assert.ok(createPublicKey(key).equals(certificate.publicKey))
  return certificate.subjectAltName ?? ''
}

test('Envoy gets certificate and bundle by SPIRE’s names, and the bundle verifies the certificate', { skip }, async (t) => {
  const it = await scene(t)
  const { call, answers } = it.stream()
  call.write({ resource_names: ['default', 'ROOTCA', idOf('shop'), `spiffe://${RING}`, 'ALL'] })
  await until('it is answered', () => answers.length === 1)
  const [first] = answers as [Answered]
  assert.deepEqual([first.type_url, first.version_info !== '', first.nonce !== ''], [SECRET, true, true])
  const [own1, bundle, shop, domain, all] = first.secrets as [Secret, Secret, Secret, Secret, Secret]
  assert.deepEqual(
    [own1, bundle, shop, domain, all].map(({ name }) => name),
    ['default', 'ROOTCA', idOf('shop'), `spiffe://${RING}`, 'ALL'],
  )
  assert.deepEqual([subjectOf(own1), subjectOf(shop)], [`URI:${idOf('billing')}`, `URI:${idOf('shop')}`])
  const trusted = bundle.validation_context?.trusted_ca?.inline_bytes as Buffer
  const authority = new X509Certificate(trusted)
  assert.ok(new X509Certificate(own1.tls_certificate!.certificate_chain.inline_bytes).verify(authority.publicKey))
  assert.deepEqual(domain.validation_context?.trusted_ca?.inline_bytes, trusted)
  const { name, typed_config } = all.validation_context!.custom_validator_config!
  assert.equal(name, 'envoy.tls.cert_validator.spiffe')
  assert.match(typed_config.type_url, /\.SPIFFECertValidatorConfig$/)
  const validator = root.lookupType('SPIFFECertValidatorConfig')
  const { trust_domains } = validator.toObject(validator.decode(typed_config.value)) as {
    trust_domains: { name: string; trust_bundle: Source }[]
  }
  assert.deepEqual(trust_domains, [{ name: RING, trust_bundle: { inline_bytes: trusted } }])
})

test('what was taken is sent once, what changes is sent again, and what was not taken is told of', { skip }, async (t) => {
  const it = await scene(t)
  const { call, answers } = it.stream()
  const resource_names = ['default']
  call.write({ resource_names })
  await until('it is answered', () => answers.length === 1)
  const [first] = answers as [Answered]
  call.write({ resource_names, version_info: first.version_info, response_nonce: first.nonce })
  it.renew()
  await until('the renewed one comes', () => answers.length === 2)
  const second = answers[1] as Answered
  assert.notEqual(second.version_info, first.version_info)
  assert.notDeepEqual(second.secrets[0]?.tls_certificate, first.secrets[0]?.tls_certificate)
  call.write({
    resource_names,
    version_info: first.version_info,
    response_nonce: second.nonce,
    error_detail: { code: 13, message: 'no\nsuch cipher' },
  })
  await until('it is told', () => it.said.some((line) => line.includes('does not take the secrets')))
  assert.ok(it.said.some((line) => line.endsWith('no?such cipher')))
  // Of an answer before the last: out of date, and not looked at.
  call.write({ resource_names: ['ROOTCA'], response_nonce: first.nonce })
  call.write({ resource_names: ['ROOTCA', 'default'], version_info: second.version_info, response_nonce: second.nonce })
  await until('other names are answered', () => answers.length === 3)
  assert.deepEqual(
    answers[2]?.secrets.map(({ name }) => name),
    ['ROOTCA', 'default'],
  )
})

test('what a program is not, it does not get, and what it is no more ends its stream', { skip }, async (t) => {
  const it = await scene(t, ['billing'])
  const refused = (await it.fetch({ resource_names: ['default', idOf('shop')] })) as ServiceError
  assert.equal(refused.code, 7)
  assert.match(refused.details, new RegExp(`may not have "${idOf('shop')}"`))
  const { call, answers, ended } = it.stream()
  call.write({ resource_names: [] })
  await until('all are sent', () => answers.length === 1)
  assert.deepEqual(
    answers[0]?.secrets.map(({ name }) => name),
    ['default', 'ROOTCA'],
  )
  it.workloads([])
  await until('it ends', () => ended.length === 1)
  assert.equal(ended[0]?.code, 7)
})

test('FetchSecrets answers once; another type, nothing, garbage and DeltaSecrets are refused in words', { skip }, async (t) => {
  const it = await scene(t, ['billing'])
  const fetched = (await it.fetch({ resource_names: [idOf('billing')] })) as Answered
  assert.equal(subjectOf(fetched.secrets[0] as Secret), `URI:${idOf('billing')}`)
  const wrong = (await it.fetch({ type_url: 'type.googleapis.com/envoy.config.cluster.v3.Cluster' })) as ServiceError
  assert.equal(wrong.code, 3)
  assert.match(wrong.details, /expected type\.googleapis\.com\/envoy\.extensions\.transport_sockets\.tls\.v3\.Secret/)
  const many = (await it.fetch({ resource_names: Array.from({ length: 65 }, (_, i) => `n${i}`) })) as ServiceError
  assert.equal(many.code, 3)
  const silent = it.stream()
  silent.call.end()
  await until('it ends', () => silent.ended.length === 1)
  assert.equal(silent.ended[0]?.code, 3)
  const delta = (it.client.DeltaSecrets as () => ClientReadableStream<Answered>).call(it.client)
  const codes: number[] = []
  delta.on('error', ({ code }: ServiceError) => codes.push(code))
  await until('it ends', () => codes.length === 1)
  assert.deepEqual(codes, [12])
  const flood = it.stream()
  for (let i = 0; i < 300; i += 1) flood.call.write({ resource_names: ['default'] })
  await until('it ends', () => flood.ended.length === 1)
  assert.equal(flood.ended[0]?.code, 8)
})
