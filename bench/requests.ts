/** The four kinds of request that benchmarks send: bare, as a browser sends it, an API's, a long form's. */
export interface BenchRequest {
  readonly name: string
  readonly method: 'GET' | 'POST'
  readonly target: string
  readonly headers: readonly (readonly [name: string, value: string])[]
  readonly body: string
}

const BROWSER = [
  ['User-Agent', 'Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/150.0.0.0 Safari/537.36'],
  ['Accept', 'text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,image/webp,*/*;q=0.8'],
  ['Accept-Language', 'en-GB,en;q=0.9,de;q=0.8'],
  ['Accept-Encoding', 'gzip, deflate, br'],
  ['Cookie', 'session=4f1c9d2e8b7a6050; theme=dark; consent=yes; cart=17'],
  ['Referer', 'https://shop.example.test/home?ref=top'],
  ['Upgrade-Insecure-Requests', '1'],
  ['Sec-Fetch-Site', 'same-origin'],
  ['Sec-Fetch-Mode', 'navigate'],
  ['Sec-Fetch-Dest', 'document'],
  ['Cache-Control', 'max-age=0'],
] as const

const items = Array.from({ length: 24 }, (_, id) => ({
  id,
  name: `Product ${id} with a name`,
  tags: ['red', 'large'],
  note: 'two days',
}))
const fields = Array.from({ length: 40 }, (_, n) => `field${n}=${`some+ordinary+text+of+a+form+number+${n}+`.repeat(5)}`)

export const BENCH_REQUESTS: readonly BenchRequest[] = [
  { name: 'K1 bare GET', method: 'GET', target: '/', headers: [], body: '' },
  {
    name: 'K2 browser-like GET',
    method: 'GET',
    target: '/search?q=blue+lamp&page=2&sort=price&category=home&min=10&max=99&lang=en&utm_source=mail',
    headers: BROWSER,
    body: '',
  },
  {
    name: 'K3 POST of 2 KB JSON',
    method: 'POST',
    target: '/api/items',
    headers: [...BROWSER, ['Content-Type', 'application/json']],
    body: JSON.stringify({ items }),
  },
  {
    name: 'K4 POST of an 8 KB form',
    method: 'POST',
    target: '/form',
    headers: [...BROWSER, ['Content-Type', 'application/x-www-form-urlencoded']],
    body: fields.join('&'),
  },
]
