// One user in one page. drive.mjs calls the functions of `phone`; what happens is told to it through `tell(event)`.
const phone = (() => {
  let ua;
  let call;
  const watched = new Set();

  // signIn starts JsSIP; "registration" events follow.
  function signIn(server, user, password, instance) {
    const socket = new JsSIP.WebSocketInterface(server);
    ua = new JsSIP.UA({ sockets: [socket], uri: `sip:${user}`, password, instance_id: instance, register_expires: 300 });
    ua.on('registered', () => tell({ event: 'registration', state: 'Ok' }));
    ua.on('registrationFailed', ({ response, cause }) =>
      tell({ event: 'registration', state: 'Failed', code: response?.status_code ?? 0, text: cause }));
    ua.on('disconnected', ({ reason }) => tell({ event: 'disconnected', text: String(reason ?? '') }));
    ua.on('newMessage', ({ originator, message, request }) => {
      if (originator !== 'remote') return;
      const date = Date.parse(request.getHeader('Date') ?? '');
      tell({ event: 'message', from: request.from.uri.toString(), text: request.body ?? '', time: date ? date / 1000 : 0 });
    });
    ua.on('newRTCSession', ({ originator, session }) => {
      watch(session);
      if (originator === 'remote') session.answer({ mediaConstraints: { audio: true, video: false } });
    });
    ua.start();
  }

  // watch tells about one call from its start to its end and plays what comes in.
  function watch(session) {
    if (watched.has(session)) return;
    watched.add(session);
    call = session;
    const direction = session.direction;
    for (const state of ['progress', 'accepted', 'confirmed', 'failed', 'ended']) {
      session.on(state, (e) => tell({ event: 'call', state, direction, from: e?.originator ?? '', text: e?.cause ?? '' }));
    }
    const play = (connection) => {
      connection.addEventListener('track', ({ streams }) => {
        document.getElementById('remote').srcObject = streams[0];
      });
    };
    if (session.connection) play(session.connection);
    else session.on('peerconnection', ({ peerconnection }) => play(peerconnection));
  }

  function message(to, text) {
    ua.sendMessage(to, text, {
      eventHandlers: {
        succeeded: ({ response }) => tell({ event: 'sent', state: 'Ok', code: response.status_code, text }),
        failed: ({ response, cause }) => tell({ event: 'sent', state: 'Failed', code: response?.status_code ?? 0, text: cause }),
      },
    });
  }

  // subscribe tells about the presence of somebody (RFC 3856) for as long as the page is there.
  function subscribe(to) {
    const subscriber = ua.subscribe(to, 'presence', 'application/pidf+xml', { expires: 300 });
    subscriber.on('notify', (final, request, body) => {
      if (!body) return;
      const doc = new DOMParser().parseFromString(body, 'application/xml');
      const all = (name) => [...doc.getElementsByTagNameNS('*', name)];
      const open = all('basic').some((basic) => basic.textContent.trim() === 'open');
      const activity = ['on-the-phone', 'busy', 'meeting', 'away'].find((name) => all(name).length > 0);
      tell({ event: 'presence', from: to, state: open ? activity ?? 'available' : 'offline' });
    });
    subscriber.on('terminated', (code, reason) => tell({ event: 'presence', from: to, state: 'unknown', text: `${code} ${reason ?? ''}` }));
    subscriber.subscribe();
  }

  function dial(to) {
    watch(ua.call(to, { mediaConstraints: { audio: true, video: false } }));
  }

  function hangUp() {
    call.terminate();
  }

  // stats tells what the audio of the call has carried so far.
  async function stats() {
    const sum = { event: 'stats', packetsSent: 0, packetsReceived: 0, bytesReceived: 0, audioLevel: 0 };
    for (const item of (await call.connection.getStats()).values()) {
      if (item.kind !== 'audio') continue;
      if (item.type === 'outbound-rtp') sum.packetsSent += item.packetsSent;
      if (item.type === 'inbound-rtp') {
        sum.packetsReceived += item.packetsReceived;
        sum.bytesReceived += item.bytesReceived;
        sum.audioLevel = Math.max(sum.audioLevel, item.audioLevel ?? 0);
      }
    }
    tell(sum);
  }

  function signOut() {
    ua.once('unregistered', () => ua.stop());
    ua.unregister();
  }

  return { signIn, message, subscribe, dial, hangUp, stats, signOut };
})();
