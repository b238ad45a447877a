/**
 * The fixed requests that a policy's rules are weighed by, one a class. Benign, so that every rule has its say: a refusal would
 * end the work early. They are part of what validators agree on: changing one is changing what policies are accepted.
 */
import type { WafRequest } from '@ringwall/waf'
import { encodeUtf8 } from './encoding.ts'

export const SAMPLE_CLASSES = ['page', 'form', 'json', 'upload'] as const
export type SampleClass = (typeof SAMPLE_CLASSES)[number]

export interface SampleRequest {
  readonly request: WafRequest
  readonly body: Uint8Array
}

const BROWSER: WafRequest['headers'] = [
  ['Host', 'shop.example.com'],
  ['User-Agent', 'Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0'],
  ['Accept', 'text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8'],
  ['Accept-Language', 'en-GB,en;q=0.7,de;q=0.3'],
  ['Accept-Encoding', 'gzip, deflate, br'],
  ['Referer', 'https://shop.example.com/catalogue/lamps?sort=price&page=2'],
  ['Cookie', 'session=0b7c1d2e3f405162738495a6b7c8d9ea; theme=dark; basket=17-2.44-1; consent=essential'],
]
const WORDS = 'a quiet brass reading lamp with a green shade stands beside the window of the old harbour office '

function request(method: string, target: string, type?: string): WafRequest {
  const headers = type === undefined ? BROWSER : [...BROWSER, ['Content-Type', type] as const]
  return { method, target, httpVersion: '1.1', headers, remoteAddress: '198.51.100.7' }
}

function prose(chars: number): string {
  return WORDS.repeat(Math.ceil(chars / WORDS.length)).slice(0, chars)
}

const order = JSON.stringify({
  customer: { name: 'Ann Example', email: 'ann@example.com', phone: '+44 20 7946 0000' },
  lines: Array.from({ length: 24 }, (_, n) => ({ sku: `LAMP-${1_000 + n}`, quantity: (n % 3) + 1, note: prose(80) })),
  comment: prose(600),
})

const BOUNDARY = 'sample-boundary-7d3f'
const upload = [
  `--${BOUNDARY}`,
  'Content-Disposition: form-data; name="description"',
  '',
  prose(400),
  `--${BOUNDARY}`,
  'Content-Disposition: form-data; name="file"; filename="notes.txt"',
  'Content-Type: text/plain',
  '',
  prose(60_000),
  `--${BOUNDARY}--`,
  '',
].join('\r\n')

export const SAMPLE_REQUESTS: Readonly<Record<SampleClass, SampleRequest>> = {
  page: {
    request: request('GET', '/catalogue/lamps?q=brass+reading+lamp&sort=price&page=3&colour=green'),
    body: new Uint8Array(0),
  },
  form: {
    request: request('POST', '/contact', 'application/x-www-form-urlencoded'),
    body: encodeUtf8(`name=Ann+Example&email=ann%40example.com&message=${encodeURIComponent(prose(1_200))}`),
  },
  json: { request: request('POST', '/api/orders', 'application/json'), body: encodeUtf8(order) },
  upload: {
    request: request('POST', '/reviews/photos', `multipart/form-data; boundary=${BOUNDARY}`),
    body: encodeUtf8(upload),
  },
}
