// What tells people that somebody wrote: a sound from one tab only, and what the server pushes.
import { openTalk, say } from "./people.mjs";

/** Counts the tones that a page plays. */
const countTones = () => {
  globalThis.tones = 0;
  const make = AudioContext.prototype.createOscillator;
  AudioContext.prototype.createOscillator = function () {
    globalThis.tones++;
    return make.call(this);
  };
};
const tones = (page) => page.evaluate(() => globalThis.tones);

export function notices({ server, people, until, must, row }) {
  return {
    async "a message sounds in one tab, and not while it is looked at"() {
      const [alice, bob] = await people("Alice", "Bob");
      await bob.context.addInitScript(countTones);
      await bob.page.goto(server.url);
      const second = await bob.context.newPage();
      await second.goto(server.url);
      const tabs = [bob.page, second];
      for (const tab of tabs) await row(tab, "Alice").waitFor();
      const all = async () => (await Promise.all(tabs.map(tones))).reduce((a, b) => a + b);
      await openTalk(alice.page, "Bob");
      await say(alice.page, "ding");
      await until("two tones", async () => (await all()) === 2);
      for (const tab of tabs) await row(tab, "Alice").getByText("ding").waitFor();
      must((await all()) === 2, `tones: ${await all()}`);

      await openTalk(second, "Alice");
      await second.waitForTimeout(2100); // two messages within two seconds are one sound
      await say(alice.page, "seen at once");
      for (const tab of tabs) await row(tab, "Alice").getByText("seen at once").waitFor();
      must((await all()) === 2, "it sounded though somebody looked");
      await Promise.all([alice.context.close(), bob.context.close()]);
    },

    async "what the server pushes is shown, also without a text"() {
      const [{ context, page }] = await people("Carol");
      await context.grantPermissions(["notifications"], { origin: new URL(server.url).origin });
      await page.evaluate(() => navigator.serviceWorker.ready.then(() => true));
      const protocol = await context.newCDPSession(page);
      const registrationId = await new Promise((found) => {
        protocol.on("ServiceWorker.workerRegistrationUpdated", ({ registrations }) => {
          if (registrations[0]) found(registrations[0].registrationId);
        });
        void protocol.send("ServiceWorker.enable");
      });
      const push = (data) =>
        protocol.send("ServiceWorker.deliverPushMessage", { origin: new URL(server.url).origin, registrationId, data });
      const shown = () =>
        page.evaluate(async () => {
          const registration = await navigator.serviceWorker.ready;
          return (await registration.getNotifications()).map(({ title, body, tag }) => `${title}|${body}|${tag}`);
        });
      await push(JSON.stringify({ title: "Bob", body: "<b>hello</b>", conversation: "bob@parley.test" }));
      await until("the text is shown", async () => (await shown()).includes("Bob|<b>hello</b>|bob@parley.test"));
      await push(JSON.stringify({ conversation: "alice@parley.test" }));
      await until("that somebody wrote is shown", async () => (await shown()).includes("Parley|New message|alice@parley.test"));
      await push("no JSON");
      await until("a push of another kind is shown", async () => (await shown()).includes("Parley|New message|parley"));
      await context.close();
    },
  };
}
