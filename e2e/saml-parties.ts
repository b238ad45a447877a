/** The other sides of SAML, by libraries that were not written here, for tests on loopback: an identity provider (samlify) and a service provider (node-saml). */
import { generateKeyPairSync } from 'node:crypto'
import { createServer, type Server } from 'node:http'
import { createRequire } from 'node:module'
import { samlCertificate } from '@ringwall/identity'

const require = createRequire(import.meta.url)

// Their own types bring those of browsers into the whole program.
interface Entity {
  readonly entityMeta: unknown
}
interface Idp extends Entity {
  parseLoginRequest(
    sp: Entity,
    binding: string,
    request: object,
  ): Promise<{ readonly extract: { readonly request: { readonly id: string } } }>
  createLoginResponse(
    sp: Entity,
    info: object,
    binding: string,
    user: object,
    replace: (template: string) => { readonly id: string; readonly context: string },
  ): Promise<{ readonly context: string }>
}
const samlify = require('samlify') as {
  IdentityProvider(settings: object): Idp
  ServiceProvider(settings: object): Entity
  setSchemaValidator(validator: object): void
  readonly SamlLib: {
    replaceTagsByValue(template: string, tags: Readonly<Record<string, string>>): string
    readonly defaultLoginResponseTemplate: { readonly context: string }
  }
}

const REDIRECT = 'urn:oasis:names:tc:SAML:2.0:bindings:HTTP-Redirect'

export interface OutsideIdp {
  readonly server: Server
  readonly certificate: string
  readonly entityId: string
}

/** An identity provider where `name` is logged in already: it asks nobody. @param metadata Of the ring, as it publishes them. */
export function outsideIdp(origin: () => string, name: string, metadata: () => Promise<string>): OutsideIdp {
  const { privateKey } = generateKeyPairSync('rsa', { modulusLength: 2_048 })
  const certificate = Buffer.from(samlCertificate('idp', privateKey, Date.now())).toString('base64')
  const entityId = 'https://idp.example/saml'
  samlify.setSchemaValidator({ validate: () => Promise.resolve('skipped') })
  const server = createServer((request, response) => {
    const url = new URL(request.url ?? '/', origin())
    answer(url).then(
      (html) => response.setHeader('content-type', 'text/html').end(html),
      (error: Error) => response.writeHead(500).end(error.stack),
    )
  })
  const answer = async (url: URL): Promise<string> => {
    const idp = samlify.IdentityProvider({
      entityID: entityId,
      signingCert: certificate,
      privateKey: privateKey.export({ format: 'pem', type: 'pkcs8' }),
      isAssertionEncrypted: false,
      wantAuthnRequestsSigned: false,
      singleSignOnService: [{ Binding: REDIRECT, Location: `${origin()}/sso` }],
      loginResponseTemplate: {
        context: samlify.SamlLib.defaultLoginResponseTemplate.context.replace(
          '{AuthnStatement}',
          '<saml:AuthnStatement AuthnInstant="{IssueInstant}"/>',
        ),
        attributes: [{ name: 'groups', valueTag: 'groups', nameFormat: 'x', valueXsiType: 'xs:string' }],
      },
    })
    const sp = samlify.ServiceProvider({ metadata: await metadata() })
    const query = Object.fromEntries(url.searchParams)
    const { extract } = await idp.parseLoginRequest(sp, 'redirect', { query })
    const recipient = /Location="([^"]+)"/.exec(await metadata())?.[1] ?? ''
    const audience = /entityID="([^"]+)"/.exec(await metadata())?.[1] ?? ''
    const at = (ms: number): string => new Date(Date.now() + ms).toISOString()
    const { context } = await idp.createLoginResponse(sp, { extract }, 'post', { email: name }, (template) => ({
      id: '_response',
      context: samlify.SamlLib.replaceTagsByValue(template, {
        ID: '_response',
        AssertionID: '_assertion',
        Destination: recipient,
        SubjectRecipient: recipient,
        Audience: audience,
        Issuer: entityId,
        IssueInstant: at(0),
        InResponseTo: extract.request.id,
        StatusCode: 'urn:oasis:names:tc:SAML:2.0:status:Success',
        ConditionsNotBefore: at(-10_000),
        ConditionsNotOnOrAfter: at(60_000),
        SubjectConfirmationDataNotOnOrAfter: at(60_000),
        NameIDFormat: 'urn:oasis:names:tc:SAML:2.0:nameid-format:persistent',
        NameID: name,
        attrGroups: 'engineers',
      }),
    }))
    return `<form method="post" action="${recipient}"><input name="SAMLResponse" value="${context}"><input name="RelayState" value="${query.RelayState}"><button>Send</button></form>`
  }
  return { server, certificate, entityId }
}

/** A service provider: the address that its people are sent to, and what it makes of an answer. */
export interface OutsideParty {
  begin(relayState: string): Promise<string>
  /** @throws What node-saml says is wrong. */
  read(response: string): Promise<Readonly<Record<string, unknown>> | null>
}

const nodeSaml = require('@node-saml/node-saml') as {
  readonly SAML: new (
    options: object,
  ) => {
    getAuthorizeUrlAsync(relayState: string, host: string | undefined, options: object): Promise<string>
    validatePostResponseAsync(body: { SAMLResponse: string }): Promise<{ profile: Readonly<Record<string, unknown>> | null }>
  }
}

export function outsideParty(
  entityId: string,
  acs: string,
  signOn: string,
  idp: string,
  certificates: readonly string[],
  more: object = {},
): OutsideParty {
  const saml = new nodeSaml.SAML({
    issuer: entityId,
    audience: entityId,
    callbackUrl: acs,
    entryPoint: signOn,
    idpIssuer: idp,
    idpCert: [...certificates],
    wantAssertionsSigned: true,
    wantAuthnResponseSigned: false,
    validateInResponseTo: 'always',
    disableRequestedAuthnContext: true,
    ...more,
  })
  return {
    begin: (relayState) => saml.getAuthorizeUrlAsync(relayState, undefined, {}),
    read: async (response) => (await saml.validatePostResponseAsync({ SAMLResponse: response })).profile,
  }
}
