/** Pages as strings. What comes from outside goes through `escapeHtml`, always. */

export function escapeHtml(text: string): string {
  return text.replace(/[&<>"']/g, (character) => `&#${character.charCodeAt(0)};`)
}

const STYLE = `
:root { color-scheme: light dark; --ink: #1d2733; --paper: #fbfaf7; --line: #d8d3c8; --sea: #14607a; }
@media (prefers-color-scheme: dark) { :root { --ink: #e6e3da; --paper: #14181d; --line: #333b44; --sea: #7cc4dc; } }
body { font: 16px/1.55 Georgia, serif; color: var(--ink); background: var(--paper); margin: 0 auto; max-width: 56rem; padding: 1rem 1.25rem 3rem; }
header { display: flex; flex-wrap: wrap; gap: .75rem 1.5rem; align-items: baseline; border-bottom: 1px solid var(--line); padding-bottom: .75rem; }
header a { color: inherit; } header strong { font-size: 1.3rem; } a { color: var(--sea); }
form.search { margin-left: auto; } ul.books { list-style: none; padding: 0; display: grid; gap: .75rem; grid-template-columns: repeat(auto-fill, minmax(15rem, 1fr)); }
ul.books li { border: 1px solid var(--line); border-radius: 4px; padding: .75rem 1rem; } .price { font-variant-numeric: tabular-nums; }
label { display: block; margin: .75rem 0 .25rem; } input, textarea, button { font: inherit; padding: .35rem .5rem; }
.note { border-left: 3px solid var(--sea); padding-left: .75rem; } table { border-collapse: collapse; } td, th { border-bottom: 1px solid var(--line); padding: .3rem .8rem .3rem 0; text-align: left; }
`

export interface PageOptions {
  readonly title: string
  readonly user: string | undefined
  readonly query?: string
}

/** `body` is HTML. */
export function page({ title, user, query = '' }: PageOptions, body: string): string {
  const account =
    user === undefined ? '<a href="/login">Sign in</a> <a href="/signup">Sign up</a>' : `<span>${escapeHtml(user)}</span>`
  return `<!doctype html><html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width"><title>${escapeHtml(title)} · Lighthouse Books</title><style>${STYLE}</style></head>
<body><header><strong><a href="/">Lighthouse Books</a></strong>${account}<a href="/upload">Uploads</a>
<form class="search" action="/search" role="search"><label for="q" hidden>Search</label><input id="q" name="q" value="${escapeHtml(query)}" placeholder="Search titles"><button>Search</button></form></header>
<main><h1>${escapeHtml(title)}</h1>${body}</main></body></html>`
}

export interface Book {
  readonly id: number
  readonly title: string
  readonly author: string
  readonly cents: number
}

export const price = (cents: number): string => `€ ${(cents / 100).toFixed(2)}`

export function bookList(books: readonly Book[]): string {
  if (books.length === 0) return '<p>Nothing found.</p>'
  const items = books.map(
    ({ id, title, author, cents }) =>
      `<li><a href="/products/${id}">${escapeHtml(title)}</a><br>${escapeHtml(author)}<br><span class="price">${price(cents)}</span></li>`,
  )
  return `<ul class="books">${items.join('')}</ul>`
}
