/**
 * The pages where people log in, log out and enrol. They load nothing, from nowhere; their policy names their script and style by hash. Passwords
 * work without script, passkeys need it: browsers have no other way to them.
 */
import { hash } from 'node:crypto'
import { ENROL_PATH, LOGIN_PATH, LOGOUT_PATH } from '@ringwall/guard'
import { PASSWORD_CHARS_MAX, PASSWORD_CHARS_MIN } from '@ringwall/identity'
import type { PortalAnswer } from '@ringwall/proxy'
import { escapeHtml } from '@ringwall/waf'

const STYLE = `
:root{color-scheme:light dark;font:1rem/1.5 system-ui,sans-serif;--line:light-dark(#767676,#8f8f8f);--accent:light-dark(#0b57d0,#a8c7fa);--on:light-dark(#fff,#062e6f);--bad:light-dark(#b3261e,#f2b8b5)}
*{box-sizing:border-box}
body{margin:0;min-height:100vh;display:grid;place-items:center;background:light-dark(#fff,#131314);color:light-dark(#1f1f1f,#e3e3e3)}
main{width:100%;max-width:24rem;padding:2rem}
h1{font-size:1.4rem;line-height:1.3;margin:0 0 .25rem}
p{margin:0 0 1.25rem}
form{margin:0}
label{display:block;margin:0 0 .25rem;font-weight:600}
input{font:inherit;width:100%;padding:.6rem .75rem;margin:0 0 1rem;border:1px solid var(--line);border-radius:.4rem;background:transparent;color:inherit}
button{font:inherit;width:100%;padding:.65rem 1rem;border:1px solid var(--accent);border-radius:.4rem;background:transparent;color:var(--accent);cursor:pointer}
a.button{display:block;text-align:center;text-decoration:none;padding:.65rem 1rem;border:1px solid var(--accent);border-radius:.4rem;color:var(--accent)}
button.first,a.first{background:var(--accent);color:var(--on)}
:focus-visible{outline:2px solid var(--accent);outline-offset:2px}
.or{display:flex;gap:.75rem;align-items:center;margin:1.25rem 0}
.or::before,.or::after{content:"";flex:1;border-top:1px solid var(--line)}
.bad{color:var(--bad);font-weight:600}
.hint{margin:-.5rem 0 1rem;font-size:.9rem}
[hidden]{display:none}
`

/** Hands what the authenticator says to the form beside it; sends the form of a page that has nothing to choose. */
const SCRIPT = `
const form=document.getElementById('passkey'),say=(text)=>{const p=document.getElementById('said');p.textContent=text;p.hidden=false}
const bytes=(text)=>Uint8Array.from(atob(text.replace(/-/g,'+').replace(/_/g,'/')),(c)=>c.charCodeAt(0))
const text=(buffer)=>{let s='';for(const b of new Uint8Array(buffer))s+=String.fromCharCode(b);return btoa(s).replace(/\\+/g,'-').replace(/\\//g,'_').replace(/=+$/,'')}
if(form&&globalThis.PublicKeyCredential){
const d=form.dataset
for(const one of document.querySelectorAll('.script'))one.hidden=false
form.addEventListener('submit',async(event)=>{
if(form.elements.id.value)return
event.preventDefault()
const button=form.querySelector('button')
button.disabled=true
try{
const challenge=bytes(d.challenge)
if(d.kind==='create'){
const made=await navigator.credentials.create({publicKey:{challenge,rp:{id:d.domain,name:d.domain},user:{id:bytes(d.user),name:d.name,displayName:d.name},pubKeyCredParams:[-7,-8,-257].map((alg)=>({type:'public-key',alg})),authenticatorSelection:{residentKey:'required',userVerification:'required'},attestation:'none',timeout:240000}})
const r=made.response
form.elements.id.value=text(made.rawId)
form.elements.authenticatorData.value=text(r.getAuthenticatorData())
form.elements.clientDataJSON.value=text(r.clientDataJSON)
form.elements.publicKey.value=text(r.getPublicKey())
}else{
const shown=await navigator.credentials.get({publicKey:{challenge,rpId:d.domain,userVerification:'required',timeout:240000}})
const r=shown.response
form.elements.id.value=text(shown.rawId)
form.elements.authenticatorData.value=text(r.authenticatorData)
form.elements.clientDataJSON.value=text(r.clientDataJSON)
form.elements.signature.value=text(r.signature)
}
form.submit()
}catch(error){
button.disabled=false
say(error&&error.name==='NotAllowedError'?'That was cancelled, or took too long. You can try again.':'This browser could not do it. You can try again.')
}
})
}
const next=document.getElementById('onwards')
if(next)next.submit()
`

const sha256 = (text: string): string => `'sha256-${hash('sha256', text, 'base64')}'`

const POLICY = [
  "default-src 'none'",
  `script-src ${sha256(SCRIPT)}`,
  `style-src ${sha256(STYLE)}`,
  "form-action 'self'",
  "base-uri 'none'",
  "frame-ancestors 'none'",
].join('; ')

/** Beyond names and values that every page has, in turn. */
export interface PageOptions {
  readonly status: number
  readonly headers?: readonly string[]
}

/** @param goesOnTo Where an answer to its form leads, beside this origin. */
function page(title: string, body: string, { status, headers = [] }: PageOptions, goesOnTo = ''): PortalAnswer {
  const policy = goesOnTo === '' ? POLICY : POLICY.replace("form-action 'self'", `form-action 'self' ${goesOnTo}`)
  const fields = ['content-type', 'text/html; charset=utf-8', 'cache-control', 'no-store', 'content-security-policy', policy]
  fields.push('x-content-type-options', 'nosniff', 'referrer-policy', 'no-referrer', 'x-frame-options', 'DENY')
  return {
    status,
    headers: [...fields, 'x-robots-tag', 'noindex', 'cross-origin-opener-policy', 'same-origin', ...headers],
    body: ascii(`<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width">
<title>${escapeHtml(title)}</title>
<style>${STYLE}</style>
</head>
<body>
<main>
<h1>${escapeHtml(title)}</h1>
${body}
</main>
<script>${SCRIPT}</script>
</body>
</html>
`),
  }
}

/** As long in bytes as in characters. */
function ascii(text: string): string {
  return text.replace(/[^ -~\n]/gu, (character) => `&#${character.codePointAt(0)};`)
}

const hidden = (fields: Readonly<Record<string, string>>): string =>
  Object.entries(fields)
    .map(([name, value]) => `<input type="hidden" name="${escapeHtml(name)}" value="${escapeHtml(value)}">`)
    .join('')

const said = (text: string | undefined): string =>
  `<p id="said" class="bad" role="alert"${text === undefined ? ' hidden' : ''}>${escapeHtml(text ?? '')}</p>`

export interface LoginPage {
  /** Where it is that they log in. */
  readonly host: string
  readonly form: string
  readonly to: string
  readonly methods: readonly ('passkey' | 'password')[]
  readonly providers: readonly OfferedProvider[]
  readonly challenge: string
  readonly domain: string
  readonly said?: string | undefined
}

/** An outside provider on a page. */
export interface OfferedProvider {
  readonly title: string
  /** A path of ours, which leads there. */
  readonly href: string
}

/** Links and no forms: where a form leads is bounded by the page's policy, and providers send on to where they like. */
const offered = (providers: readonly OfferedProvider[], words: string, isFirst: boolean): string =>
  providers
    .map(
      ({ title, href }, at) =>
        `<p><a class="button${isFirst && at === 0 ? ' first' : ''}" href="${escapeHtml(href)}">${escapeHtml(`${words} ${title}`)}</a></p>`,
    )
    .join('\n')

/** @param goesOnTo Where a login leads, beside this origin. */
export function loginPage(
  { host, form, to, methods, providers, challenge, domain, said: text }: LoginPage,
  options: PageOptions,
  goesOnTo = '',
): PortalAnswer {
  const common = { form, to }
  const [passkeys, passwords] = [methods.includes('passkey'), methods.includes('password')]
  const passkey = `<form id="passkey" class="script" hidden method="post" action="${LOGIN_PATH}" data-kind="get" data-challenge="${escapeHtml(challenge)}" data-domain="${escapeHtml(domain)}">
${hidden({ ...common, with: 'passkey', id: '', authenticatorData: '', clientDataJSON: '', signature: '' })}
<button class="first" type="submit">Log in with a passkey</button>
</form>`
  const password = `<form method="post" action="${LOGIN_PATH}">
${hidden({ ...common, with: 'password' })}
<label for="name">Name</label>
<input id="name" name="name" required autocomplete="username" autocapitalize="none" spellcheck="false" maxlength="63">
<label for="password">Password</label>
<input id="password" name="password" type="password" required autocomplete="current-password" maxlength="${PASSWORD_CHARS_MAX}">
<button${passkeys ? '' : ' class="first"'} type="submit">Log in with a password</button>
</form>`
  const alone = '<noscript><p>Passkeys need JavaScript: allow it for this site, then load the page again.</p></noscript>'
  return page(
    'Log in',
    [
      `<p>to ${escapeHtml(host)}</p>`,
      said(text),
      passkeys ? passkey : '',
      passkeys && !passwords ? alone : '',
      passkeys && passwords ? '<div class="or script" hidden>or</div>' : '',
      passwords ? password : '',
      methods.length > 0 && providers.length > 0 ? '<div class="or">or</div>' : '',
      offered(providers, 'Log in with', methods.length === 0),
    ].join('\n'),
    options,
    goesOnTo,
  )
}

export interface EnrolPage {
  readonly host: string
  readonly form: string
  readonly name: string
  readonly key: string
  readonly methods: readonly ('passkey' | 'password')[]
  readonly providers: readonly OfferedProvider[]
  readonly challenge: string
  readonly domain: string
  /** Base64url: what authenticators know the person by. */
  readonly user: string
  /** Who this browser is logged in as, if that is somebody else. */
  readonly other?: string | undefined
  readonly said?: string | undefined
}

export function enrolPage(shown: EnrolPage, options: PageOptions): PortalAnswer {
  const { host, form, name, key, methods, providers, challenge, domain, user } = shown
  const common = { form, name, key }
  const [passkeys, passwords] = [methods.includes('passkey'), methods.includes('password')]
  const passkey = `<form id="passkey" class="script" hidden method="post" action="${ENROL_PATH}" data-kind="create" data-challenge="${escapeHtml(challenge)}" data-domain="${escapeHtml(domain)}" data-user="${escapeHtml(user)}" data-name="${escapeHtml(name)}">
${hidden({ ...common, with: 'passkey', id: '', authenticatorData: '', clientDataJSON: '', publicKey: '' })}
<button class="first" type="submit">Make a passkey</button>
</form>`
  const password = `<form method="post" action="${ENROL_PATH}">
${hidden({ ...common, with: 'password' })}
<input type="hidden" autocomplete="username" value="${escapeHtml(name)}">
<label for="password">Password</label>
<input id="password" name="password" type="password" required autocomplete="new-password" minlength="${PASSWORD_CHARS_MIN}" maxlength="${PASSWORD_CHARS_MAX}" aria-describedby="rule">
<p class="hint" id="rule">At least ${PASSWORD_CHARS_MIN} characters; several words do well.</p>
<label for="again">The same again</label>
<input id="again" name="again" type="password" required autocomplete="new-password" maxlength="${PASSWORD_CHARS_MAX}">
<button${passkeys ? '' : ' class="first"'} type="submit">Set a password</button>
</form>`
  return page(
    `Welcome, ${name}`,
    [
      `<p>Choose how you log in to ${escapeHtml(host)}. This link works once.</p>`,
      shown.other === undefined
        ? ''
        : `<p>You are logged in here as ${escapeHtml(shown.other)}. What you choose now logs in as ${escapeHtml(name)}: go on only if you are both.</p>`,
      said(shown.said),
      passkeys ? passkey : '',
      passkeys && passwords ? '<div class="or script" hidden>or</div>' : '',
      passwords ? password : '',
      methods.length > 0 && providers.length > 0 ? '<div class="or">or</div>' : '',
      offered(providers, 'Use', methods.length === 0),
    ].join('\n'),
    options,
  )
}

export interface ConsentPage {
  readonly client: string
  /** Where the answer goes: an origin, or a scheme. */
  readonly to: string
  readonly name: string
  readonly scope: string
  readonly form: string
  readonly action: string
}

const SCOPE_WORDS: Readonly<Record<string, string>> = {
  openid: 'who you are',
  profile: 'your name',
  groups: 'your groups',
  offline_access: 'all of it for as long as you are logged in here, also while you are away',
}

export function consentPage({ client, to, name, scope, form, action }: ConsentPage, options: PageOptions): PortalAnswer {
  const items = scope.split(' ').map((one) => `<li>${escapeHtml(SCOPE_WORDS[one] ?? one)}</li>`)
  const body = `<p>You are ${escapeHtml(name)}. ${escapeHtml(client)} (${escapeHtml(to)}) asks for:</p>
<ul>${items.join('')}</ul>
<form method="post" action="${escapeHtml(action)}">${hidden({ form })}
<button class="first" type="submit" name="answer" value="yes">Allow</button>
<p></p>
<button type="submit" name="answer" value="no">Refuse</button>
</form>`
  return page(`Log in to ${client}`, body, options, to)
}

/** @param onwards Fields that say where to go on to, and the origin of that. */
export function logoutPage(
  host: string,
  form: string,
  options: PageOptions,
  onwards: { readonly fields: Readonly<Record<string, string>>; readonly origin: string } = { fields: {}, origin: '' },
): PortalAnswer {
  const body = `<p>from ${escapeHtml(host)}, on all of its servers.</p>
<form method="post" action="${LOGOUT_PATH}">${hidden({ ...onwards.fields, form })}<button class="first" type="submit">Log out</button></form>`
  return page('Log out', body, options, onwards.origin)
}

/** A form that is sent by itself, or by its button where there is no script. @param action Ours, or an address elsewhere. */
export function onwardsPage(
  title: string,
  action: string,
  fields: Readonly<Record<string, string>>,
  options: PageOptions,
  goesOnTo = '',
): PortalAnswer {
  const form = `<form id="onwards" method="post" action="${escapeHtml(action)}">${hidden(fields)}<button class="first" type="submit">Go on</button></form>`
  return page(title, form, options, goesOnTo)
}

/** With a way on, if there is one. */
export function noticePage(title: string, text: string, options: PageOptions & { readonly again?: boolean }): PortalAnswer {
  const on = options.again === true ? `\n<p><a href="${LOGIN_PATH}">Log in</a></p>` : ''
  return page(title, `<p>${escapeHtml(text)}</p>${on}`, options)
}
