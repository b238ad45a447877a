/**
 * What a challenged client sees: a page that does the work and comes back, for browsers; problem details (RFC 9457) for all others. The page
 * loads nothing, and its policy lets it do nothing but what it does.
 */
import { hash } from 'node:crypto'
import { CHALLENGE_PATH, type GrantedPass, PASS_COOKIE, SOLUTION_FIELD } from '@ringwall/guard'
import { WORK_BLOCK_BYTES } from './challenges.ts'
import { nodeHttp } from './node-http.ts'
import type { Refusal } from './refusal.ts'

/** In a thread of its own, so that the page stays alive. Each takes every `step`th number. */
const WORKER = `onmessage=async({data:[text,bits,from,step]})=>{
try{
const blocks=Array.from({length:16},()=>{const b=new Uint8Array(${WORK_BLOCK_BYTES});for(let i=8;i<b.length;i++)b[i]=text.charCodeAt((i-8)%text.length);return b})
const zeros=(h)=>{let n=0;for(const b of h){if(b)return n+Math.clz32(b)-24;n+=8}return n}
for(let n=from;;){
const tried=blocks.map((b,i)=>{const c=n+i*step,v=new DataView(b.buffer);v.setUint32(0,Math.floor(c/4294967296));v.setUint32(4,c>>>0);return c})
const hashes=await Promise.all(blocks.map((b)=>crypto.subtle.digest('SHA-256',b)))
const at=hashes.findIndex((h)=>zeros(new Uint8Array(h))>=bits)
if(at>=0){postMessage({found:tried[at]});return}
n+=step*blocks.length
postMessage({tried:blocks.length})
}
}catch(e){postMessage({failed:String(e)})}
}`

const SCRIPT = `
const page=document.body.dataset,bits=Number(page.bits)
const say=(text)=>{document.getElementById('state').textContent=text}
const bar=document.getElementById('bar')
const end=(text)=>{bar.hidden=true;say(text)}
const again=document.getElementById('again')
again.onclick=()=>{location.reload()}
const offer=(text)=>{end(text);again.hidden=false}
const key='ringwall challenge',recent=()=>{try{return Date.now()-Number(sessionStorage.getItem(key))<15000}catch{return false}}
const done=()=>{
try{sessionStorage.setItem(key,String(Date.now()))}catch{}
if(page.asker==='visit')end('Done. Go back to where you came from, and try again.')
else if(page.asker==='form'){end('Done. What you sent has not arrived yet: go back and send it again.');again.textContent='Go back';again.onclick=()=>{history.back()};again.hidden=false;again.focus()}
else{end('Done. Loading the page.');location.reload()}
}
const work=()=>{
const count=Math.max(1,Math.min(navigator.hardwareConcurrency||2,8)),url=URL.createObjectURL(new Blob([${JSON.stringify(WORKER)}],{type:'text/javascript'}))
let tried=0,over=false
const workers=Array.from({length:count},(_,i)=>{
const w=new Worker(url)
w.onmessage=async({data})=>{
if(over)return
if(data.tried){tried+=data.tried;bar.value=1-Math.exp(-tried/2**bits);return}
over=true
for(const one of workers)one.terminate()
if(data.failed){offer('The check failed in this browser. You can try again.');return}
try{
const answer=await fetch('${CHALLENGE_PATH}',{method:'POST',headers:{'${SOLUTION_FIELD}':page.challenge+'.'+data.found},credentials:'same-origin',cache:'no-store'})
if(answer.ok)done()
else offer('The check took too long, or your network has changed. Please try again.')
}catch{offer('The connection was lost. Please try again.')}
}
w.onerror=()=>{if(!over){over=true;offer('The check failed in this browser. You can try again.')}}
w.postMessage([page.challenge,bits,i,count])
return w
})
}
if(!globalThis.crypto||!crypto.subtle)end('This check needs a secure connection: open this page with https.')
else if(!navigator.cookieEnabled)offer('This check needs cookies: allow them for this site, then try again.')
else if(page.asker==='page'&&recent())offer('The check was done, but this browser did not keep the result: allow cookies for this site, then try again.')
else work()
`

const STYLE = `
:root{color-scheme:light dark;font:1rem/1.5 system-ui,sans-serif}
body{margin:0;min-height:100vh;display:grid;place-items:center}
main{max-width:32rem;padding:2rem}
h1{font-size:1.4rem;margin:0 0 .5rem}
progress{width:100%}
small{opacity:.8}
button{font:inherit;padding:.5rem 1rem}
[hidden]{display:none}
`

const sha256 = (text: string): string => `'sha256-${hash('sha256', text, 'base64')}'`

const POLICY = [
  "default-src 'none'",
  `script-src ${sha256(SCRIPT)}`,
  `style-src ${sha256(STYLE)}`,
  'worker-src blob:',
  "connect-src 'self'",
  "base-uri 'none'",
  "form-action 'none'",
  "frame-ancestors 'self'",
].join('; ')

export interface Challenged {
  readonly status: number
  readonly requestId: string
  readonly method: string
  readonly target: string
  /** Names and values in turn. */
  readonly rawHeaders: readonly string[]
  readonly retryAfterS: number | undefined
  readonly difficulty: number
  /** Asked for when a page is made. */
  readonly issue: () => string
}

export function challengeAnswer(challenged: Challenged): Refusal {
  const { status, requestId, retryAfterS } = challenged
  const asker = askerOf(challenged)
  const headers = ['cache-control', 'no-store', 'x-request-id', requestId, 'x-content-type-options', 'nosniff']
  headers.push('vary', 'accept, cookie')
  if (retryAfterS !== undefined) headers.push('retry-after', String(Math.max(1, Math.ceil(retryAfterS))))
  if (asker === 'program') {
    const title = nodeHttp.STATUS_CODES[status] ?? 'Error'
    const detail = `A proof of work is asked for, which browsers do. Open ${CHALLENGE_PATH} in a browser, then ask again.`
    const body = `${JSON.stringify({ type: 'about:blank', title, status, detail, requestId, code: 'challenge' })}\n`
    return { headers: ['content-type', 'application/problem+json', 'content-length', String(body.length), ...headers], body }
  }
  const body = pageText(challenged.issue(), challenged.difficulty, requestId, asker)
  headers.push('content-security-policy', POLICY, 'referrer-policy', 'same-origin', 'x-robots-tag', 'noindex')
  return { headers: ['content-type', 'text/html; charset=utf-8', 'content-length', String(body.length), ...headers], body }
}

/** To whoever brought a proof. */
export function passAnswer({ pass, forS }: GrantedPass, requestId: string, secure: boolean): Refusal {
  const body = '{"ok":true}\n'
  const cookie = `${PASS_COOKIE}=${pass}; Path=/; Max-Age=${forS}; HttpOnly; SameSite=Lax${secure ? '; Secure' : ''}`
  const headers = ['content-type', 'application/json', 'content-length', String(body.length), 'cache-control', 'no-store']
  return { headers: [...headers, 'x-request-id', requestId, 'set-cookie', cookie], body }
}

/** `visit`: of the page for its own sake; whatever was challenged waits elsewhere. */
type Asker = 'page' | 'visit' | 'form' | 'program'

/** A form that a browser sends says that it navigates (Fetch Metadata); whoever does not say so gets no page for anything but GET. */
function askerOf({ method, target, rawHeaders }: Challenged): Asker {
  let [accepts, mode] = [false, '']
  for (let at = 0; at < rawHeaders.length; at += 2) {
    const name = rawHeaders[at]!.toLowerCase()
    if (name === 'accept') accepts ||= rawHeaders[at + 1]!.toLowerCase().includes('text/html')
    else if (name === 'sec-fetch-mode') mode = rawHeaders[at + 1]!
  }
  if (!accepts) return 'program'
  if (method === 'GET' || method === 'HEAD') {
    if (mode !== '' && mode !== 'navigate') return 'program'
    return target === CHALLENGE_PATH ? 'visit' : 'page'
  }
  return mode === 'navigate' ? 'form' : 'program'
}

/** All of it ASCII: as long in bytes as in characters. Nothing of the request is in it but what we made ourselves. */
function pageText(challenge: string, difficulty: number, requestId: string, asker: Asker): string {
  return `<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width">
<title>One moment, please</title>
<style>${STYLE}</style>
</head>
<body data-challenge="${challenge}" data-bits="${difficulty}" data-asker="${asker}">
<main>
<h1>One moment, please</h1>
<p>This site is asked for more than it can answer, or protects itself from programs. Your browser shows that it is none by a short calculation, then you go on. Nothing is sent to anybody else.</p>
<progress id="bar" max="1" value="0" aria-label="Calculation"></progress>
<p id="state" role="status">Calculating.</p>
<p><button id="again" type="button" hidden>Try again</button></p>
<noscript><p>The calculation needs JavaScript: allow it for this site, then load this page again. If that is not possible, come back later or ask the owner of this site, and name the request below.</p></noscript>
<p><small>Request ${requestId}</small></p>
</main>
<script>${SCRIPT}</script>
</body>
</html>
`
}
