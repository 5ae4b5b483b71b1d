// node-oidc-provider, a certified OpenID provider, as the tests need it: on a free loopback port, with whoever comes signed in as one
// account. POST /control changes what it is; the answer holds what the next test step needs. It prints its address, and ends with its input.
import { createServer } from 'node:http';
import { CompactSign, generateKeyPair, exportJWK, importJWK, SignJWT, UnsecuredJWT } from 'jose';
import Provider from 'oidc-provider';

const store = new Map(); // outlives a change of the configuration
class Adapter {
  constructor(kind) { this.kind = kind; }
  key(id) { return `${this.kind}:${id}`; }
  async upsert(id, payload) { store.set(this.key(id), { ...payload }); }
  async find(id) { return store.get(this.key(id)); }
  async findByUid(uid) { return [...store.values()].find(payload => payload.uid === uid && payload.kind === 'Session'); }
  async findByUserCode() { return undefined; }
  async consume(id) { store.get(this.key(id)).consumed = Math.floor(Date.now() / 1000); }
  async destroy(id) { store.delete(this.key(id)); }
  async revokeByGrantId(grantId) { for (const [key, payload] of store) if (payload.grantId === grantId) store.delete(key); }
}

const state = { alg: 'RS256', kid: 'key-1', par: false, account: 'subject-1', email: 'person1@acme.example', emailVerified: true, hang: '', client: {} };
let key, provider, handle, address, seen = [];

async function rotate() {
  const { privateKey } = await generateKeyPair(state.alg, { extractable: true });
  key = { ...await exportJWK(privateKey), kid: state.kid, use: 'sig', alg: state.alg };
}

function build() {
  provider = new Provider(address, {
    adapter: Adapter,
    jwks: { keys: [key] }, // the old key is gone
    clients: [{
      client_id: 'pakhouse', client_secret: 'a secret of both', redirect_uris: ['http://127.0.0.1/sign-in/provider/callback'], response_types: ['code'],
      grant_types: ['authorization_code'], id_token_signed_response_alg: state.alg, token_endpoint_auth_method: 'client_secret_post', ...state.client,
    }],
    claims: { openid: ['sub'], email: ['email', 'email_verified'], profile: ['name'] },
    conformIdTokenClaims: false, // the address stands in the id token too
    cookies: { keys: ['of the tests'] },
    fetch: (url, { dispatcher, ...options }) => globalThis.fetch(url, options), // its own guard takes no loopback address
    pkce: { required: () => true },
    features: {
      devInteractions: { enabled: false }, backchannelLogout: { enabled: true },
      pushedAuthorizationRequests: { enabled: state.par, requirePushedAuthorizationRequests: state.par },
      rpInitiatedLogout: {
        enabled: true,
        logoutSource: (ctx, form) => { ctx.body = form.replace('</form>', '<input type="hidden" name="logout" value="yes"></form>'); },
        postLogoutSuccessSource: ctx => { ctx.body = 'signed out'; },
      },
    },
    enabledJWA: { idTokenSigningAlgValues: ['RS256', 'PS256', 'ES256', 'EdDSA', 'Ed25519'] },
    interactions: { url: (ctx, interaction) => `/interaction/${interaction.uid}` },
    findAccount: (ctx, id) => ({
      accountId: id,
      claims: () => ({ sub: id, email: state.email, ...(state.emailVerified === null ? {} : { email_verified: state.emailVerified }), name: 'Ada' }),
    }),
    loadExistingGrant: async ctx => {
      const grant = new ctx.oidc.provider.Grant({ clientId: ctx.oidc.client.clientId, accountId: ctx.oidc.session.accountId });
      grant.addOIDCScope('openid email profile');
      await grant.save();
      return grant;
    },
  });
  provider.on('backchannel.error', (ctx, error) => seen.push(`${error.message} ${error.cause ?? ''}`)); // a test that fails shows it
  handle = provider.callback();
}

const server = createServer(async (request, response) => {
  const path = request.url.split('?')[0];
  if (path === '/control') {
    let body = '';
    for await (const part of request) body += part;
    const { rotateKey, sign, ...changes } = JSON.parse(body);
    Object.assign(state, changes);
    if (rotateKey) await rotate();
    if (rotateKey || Object.keys(changes).length > 0) build();
    let signed; // a token that the provider would not make
    if (sign?.alg === 'none') signed = new UnsecuredJWT(sign.claims).encode();
    else if (sign) {
      const by = sign.foreign ? (await generateKeyPair(state.alg)).privateKey : await importJWK(key, state.alg);
      const header = { alg: state.alg, kid: state.kid, ...sign.header };
      signed = sign.payload !== undefined // any text, be it JSON or not
        ? await new CompactSign(new TextEncoder().encode(sign.payload)).setProtectedHeader(header).sign(by)
        : await new SignJWT(sign.claims).setProtectedHeader(header).sign(by);
    }
    response.end(JSON.stringify({ seen, signed }));
    seen = [];
    return;
  }
  seen.push(path);
  if (state.hang && path.startsWith(state.hang)) return; // taken, and never answered
  if (path.startsWith('/interaction/')) {
    await provider.interactionFinished(request, response, { login: { accountId: state.account } });
    return;
  }
  handle(request, response);
});

server.keepAliveTimeout = 0; // a connection that the other side is about to use again is not closed
server.listen(0, '127.0.0.1', async () => {
  address = `http://127.0.0.1:${server.address().port}`;
  await rotate();
  build();
  console.log(address);
});
process.stdin.resume().on('end', () => process.exit());
