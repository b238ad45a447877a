/** The shop over HTTP: pages, a JSON API, uploads, events. */
import { randomUUID } from 'node:crypto'
import { mkdirSync } from 'node:fs'
import { writeFile } from 'node:fs/promises'
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import { join } from 'node:path'
import { Shop, type User } from './database.ts'
import { bookList, escapeHtml, page, price } from './html.ts'
import { cookie, Refused, readFields, readUpload } from './requests.ts'

export interface ShopOptions {
  readonly host?: string
  /** 0: any free port. */
  readonly port: number
  /** Where the database and uploads stay; in memory when undefined. */
  readonly data?: string
}

interface Visit {
  readonly request: IncomingMessage
  readonly response: ServerResponse
  readonly url: URL
  readonly shop: Shop
  readonly user: User | undefined
  readonly uploads: string | undefined
}

type Handler = (visit: Visit, id: string) => void | Promise<void>

function html({ response, user }: Visit, status: number, title: string, body: string, query = ''): void {
  response.writeHead(status, { 'content-type': 'text/html; charset=utf-8' })
  response.end(page({ title, user: user?.email, query }, body))
}

function json({ response }: Visit, status: number, value: unknown): void {
  response.writeHead(status, { 'content-type': 'application/json' })
  response.end(JSON.stringify(value))
}

function redirect({ response }: Visit, to: string, setCookie?: string): void {
  response.writeHead(303, { location: to, ...(setCookie === undefined ? {} : { 'set-cookie': setCookie }) })
  response.end()
}

const wantsJson = ({ request }: Visit): boolean => (request.headers['content-type'] ?? '').startsWith('application/json')
const session = (token: string, seconds: number): string => `session=${token}; HttpOnly; SameSite=Lax; Path=/; Max-Age=${seconds}`

const accountForm = (action: string, button: string): string =>
  `<form method="post" action="${action}"><label for="email">E-mail</label><input id="email" name="email" type="email" required><label for="password">Password</label><input id="password" name="password" type="password" required><p><button>${button}</button></p></form>`

async function login(visit: Visit): Promise<void> {
  const fields = await readFields(visit.request)
  const token = await visit.shop.signIn(fields.get('email') ?? '', fields.get('password') ?? '')
  if (token === undefined) {
    if (wantsJson(visit)) json(visit, 401, { error: 'wrong e-mail or password' })
    else
      html(visit, 401, 'Sign in', `<p class="note" role="alert">Wrong e-mail or password.</p>${accountForm('/login', 'Sign in')}`)
    return
  }
  if (!wantsJson(visit)) redirect(visit, '/', session(token, 43_200))
  else {
    visit.response.setHeader('set-cookie', session(token, 43_200))
    json(visit, 200, { ok: true })
  }
}

async function signup(visit: Visit): Promise<void> {
  const fields = await readFields(visit.request)
  const [email, password] = [fields.get('email') ?? '', fields.get('password') ?? '']
  if (!/^[^\s@]{1,64}@[^\s@]{1,190}$/.test(email) || password.length < 8 || password.length > 200)
    throw new Refused(422, 'An e-mail address and a password of at least 8 characters, please.')
  if (!(await visit.shop.addUser(email, password))) throw new Refused(409, 'There is an account with this address already.')
  if (wantsJson(visit)) json(visit, 201, { ok: true })
  else redirect(visit, '/login')
}

async function upload(visit: Visit): Promise<void> {
  const { name, bytes } = await readUpload(visit.request)
  // The name that the client gave is shown, never used as a path.
  if (visit.uploads !== undefined) await writeFile(join(visit.uploads, randomUUID()), bytes, { mode: 0o600 })
  visit.shop.addUpload(name, bytes.length)
  redirect(visit, '/upload')
}

function events({ request, response }: Visit): void {
  response.writeHead(200, { 'content-type': 'text/event-stream', 'cache-control': 'no-store' })
  let count = 0
  const timer = setInterval(() => response.write(`event: tick\ndata: ${++count}\n\n`), 1_000)
  response.write(': open\n\n')
  request.on('close', () => clearInterval(timer))
}

async function addReview(visit: Visit): Promise<void> {
  const fields = await readFields(visit.request)
  const book = visit.shop.book(Number(fields.get('product')))
  const text = fields.get('text') ?? ''
  if (book === undefined || text === '' || text.length > 10_000) throw new Refused(422, 'Expected product (a number) and text.')
  visit.shop.addReview(book.id, text)
  json(visit, 201, { ok: true })
}

async function addToCart(visit: Visit): Promise<void> {
  const fields = await readFields(visit.request)
  const book = visit.shop.book(Number(fields.get('product')))
  const count = Number(fields.get('count') ?? 1)
  if (book === undefined || !Number.isInteger(count) || count < 1 || count > 99)
    throw new Refused(422, 'Expected product (a number) and count (1 to 99).')
  json(visit, 201, { line: visit.shop.addToCart(book.id, count), total: book.cents * count })
}

function admin(visit: Visit): void {
  if (visit.user?.admin !== true) throw new Refused(403, 'Only for administrators.')
  const rows = visit.shop
    .users()
    .map(
      ({ email, admin: isAdmin }) => `<tr><td>${escapeHtml(email)}</td><td>${isAdmin ? 'administrator' : 'customer'}</td></tr>`,
    )
  html(visit, 200, 'Administration', `<table><tr><th>User</th><th>Role</th></tr>${rows.join('')}</table>`)
}

function uploadPage(visit: Visit): void {
  const rows = visit.shop.uploads().map(({ name, bytes }) => `<tr><td>${escapeHtml(name)}</td><td>${bytes}</td></tr>`)
  html(
    visit,
    200,
    'Uploads',
    `<form method="post" enctype="multipart/form-data"><label for="file">A file, at most 1 MiB</label><input id="file" name="file" type="file" required> <button>Upload</button></form><table>${rows.join('')}</table>`,
  )
}

const HANDLERS: Readonly<Record<string, Handler>> = {
  'GET /': (visit) => html(visit, 200, 'Books', bookList(visit.shop.books())),
  'GET /search': (visit) => {
    const query = (visit.url.searchParams.get('q') ?? '').slice(0, 200)
    html(visit, 200, 'Search', `<p>Results for “${escapeHtml(query)}”</p>${bookList(visit.shop.search(query))}`, query)
  },
  'GET /products/:id': (visit, id) => {
    const book = visit.shop.book(Number(id))
    if (book === undefined) throw new Refused(404, 'No such book.')
    const reviews = visit.shop.reviews(book.id).map((text) => `<li>${escapeHtml(text)}</li>`)
    html(
      visit,
      200,
      book.title,
      `<p>${escapeHtml(book.author)} · ${price(book.cents)}</p><h2>Reviews</h2><ul>${reviews.join('') || '<li>None yet.</li>'}</ul>`,
    )
  },
  'GET /login': (visit) => html(visit, 200, 'Sign in', accountForm('/login', 'Sign in')),
  'POST /login': login,
  'POST /logout': (visit) => {
    visit.shop.signOut(cookie(visit.request, 'session'))
    redirect(visit, '/', session('', 0))
  },
  'GET /signup': (visit) => html(visit, 200, 'Sign up', accountForm('/signup', 'Sign up')),
  'POST /signup': signup,
  'GET /upload': uploadPage,
  'POST /upload': upload,
  'GET /admin': admin,
  'GET /events': events,
  'GET /healthz': ({ response }) => void response.end('ok\n'),
  'GET /api/products': (visit) => json(visit, 200, visit.shop.books()),
  'GET /api/products/:id': (visit, id) => {
    const book = visit.shop.book(Number(id))
    if (book === undefined) throw new Refused(404, 'No such book.')
    json(visit, 200, book)
  },
  'POST /api/reviews': addReview,
  'POST /api/cart': addToCart,
  'GET /api/me': (visit) => json(visit, visit.user === undefined ? 401 : 200, visit.user ?? { error: 'not signed in' }),
  'GET /api/echo-headers': (visit) => {
    const { 'x-request-id': requestId, traceparent, 'x-forwarded-for': forwardedFor } = visit.request.headers
    json(visit, 200, { requestId, traceparent, forwardedFor })
  },
}

function find(method: string, path: string): readonly [Handler, string] | undefined {
  const exact = HANDLERS[`${method === 'HEAD' ? 'GET' : method} ${path}`]
  if (exact !== undefined) return [exact, '']
  const match = /^(\/products|\/api\/products)\/([0-9]{1,9})$/.exec(path)
  const handler = HANDLERS[`${method} ${match?.[1]}/:id`]
  return handler === undefined || match === null ? undefined : [handler, match[2] as string]
}

async function serve(shop: Shop, uploads: string | undefined, request: IncomingMessage, response: ServerResponse): Promise<void> {
  const url = new URL(request.url ?? '/', 'http://shop.invalid')
  const visit: Visit = { request, response, url, shop, uploads, user: shop.userOf(cookie(request, 'session')) }
  try {
    const found = find(request.method ?? 'GET', url.pathname)
    if (found === undefined) throw new Refused(404, 'There is nothing here.')
    await found[0](visit, found[1])
  } catch (error) {
    const [status, message] = error instanceof Refused ? [error.status, error.message] : [500, 'Something went wrong.']
    if (!(error instanceof Refused)) process.stderr.write(`${(error as Error).stack}\n`)
    if (response.headersSent) response.destroy()
    else if (url.pathname.startsWith('/api/') || wantsJson(visit)) json(visit, status, { error: message })
    else html(visit, status, String(status), `<p>${escapeHtml(message)}</p>`)
  }
}

/** Starts the shop. @returns Where it listens, and how to stop it. */
export async function startShop({
  host = '127.0.0.1',
  port,
  data,
}: ShopOptions): Promise<{ readonly url: string; stop(): Promise<void> }> {
  const shop = await Shop.open(data)
  const uploads = data === undefined ? undefined : join(data, 'uploads')
  if (uploads !== undefined) mkdirSync(uploads, { recursive: true, mode: 0o700 })
  const server: Server = createServer((request, response) => void serve(shop, uploads, request, response))
  await new Promise<void>((settle, refuse) => {
    server.once('error', refuse)
    server.listen(port, host, settle)
  })
  return {
    url: `http://${host}:${(server.address() as AddressInfo).port}`,
    async stop() {
      const closed = new Promise((settle) => server.close(settle))
      server.closeAllConnections()
      await closed
      shop.close()
    },
  }
}
