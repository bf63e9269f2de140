// What people write to do harm: it is shown as what it is, and nothing of it runs.
import { composer, log, nasty, said, talkPath } from "./world.mjs";

const evil = [
  nasty,
  "<script>window.__pwned=1</script>",
  "<svg onload=window.__pwned=1>",
  "javascript:window.__pwned=1",
  "data:text/html,<script>window.__pwned=1</script>",
  "https://example.org/\"onmouseover=\"window.__pwned=1",
  "vbscript:window.__pwned=1 sip:x\"><img src=x onerror=window.__pwned=1>@y",
  "`<img src=x onerror=window.__pwned=1>`",
  "</textarea><img src=x onerror=window.__pwned=1>",
];
const evilHTML =
  "<p onclick='window.__pwned=1' style='position:fixed'>harm<b>less</b><script>window.__pwned=1</script><img src=x onerror='window.__pwned=1'>" +
  "<a href='javascript:window.__pwned=1'>click</a><iframe srcdoc='<script>parent.__pwned=1</script>'></iframe><form action=//evil.example><button>go</button></form>" +
  "<svg><style><img src=x onerror=window.__pwned=1></style></svg><math><mtext><table><mglyph><style><img src=x onerror=window.__pwned=1></style></p>";

/** What must not be in a page: markup of other people, and links that run something. */
const intruders = (page) =>
  page.evaluate(() => {
    const bad = [...document.querySelectorAll("img[src=x], img[onerror], [onclick], [onload], [onmouseover], iframe, object, embed, form[action], script:not([src])")];
    for (const link of document.querySelectorAll("a[href]")) {
      if (!/^(https?|mailto|sips?|tel):$/.test(link.protocol)) bad.push(link);
    }
    if (document.querySelector("[role=log]")?.querySelector("[style*=fixed], b, svg style, math")) bad.push(document.querySelector("[role=log]"));
    return bad.map((one) => one.outerHTML.slice(0, 120));
  });

export function hostile({ world, until, must }) {
  return {
    async "nothing that another person wrote runs: texts, names, notes, profile, files, links"() {
      const [ada] = world.pair();
      const mallory = world.person("Mallory");
      for (const text of evil) await mallory.say(ada, text);
      await mallory.api("MessageService/Send", { conversation: ada.address, html: evilHTML });
      const { message } = await mallory.say(ada, "to be edited");
      await mallory.api("MessageService/Edit", { id: message.id, html: `<p>edited ${evilHTML}</p>` });
      await mallory.say(ada, "answer", { replyTo: message.id });
      await mallory.api("MessageService/React", { id: message.id, emoji: nasty }).then(
        () => must(false, "markup is no emoji"),
        (error) => must(error.status === 400, `markup as emoji: ${error.message}`),
      );
      for (const [name, type, bytes] of [
        [`${nasty}.html`, "text/html", "<script>window.__pwned=1;opener&&(opener.__pwned=1)</script>"],
        [`${nasty}.svg`, "image/svg+xml", "<svg xmlns='http://www.w3.org/2000/svg' onload='window.__pwned=1'><script>window.__pwned=1</script></svg>"],
        [`${nasty}.png`, "image/png", "<script>window.__pwned=1</script>"],
      ]) {
        const file = await mallory.upload(ada, name, type, Buffer.from(bytes));
        await mallory.say(ada, `caption ${nasty}`, { file: file.id });
      }
      await mallory.api("SessionService/SetOwnProfile", { office: nasty, phone: nasty, mobile: "javascript:window.__pwned=1" });
      await mallory.api("PresenceService/SetPresence", { owner: mallory.address, manual: { availability: "busy", note: nasty } });
      await mallory.api("ConversationService/SetDraft", { conversation: ada.address, text: nasty });
      const { group } = await ada.api("ContactService/AddGroup", { owner: ada.address, name: nasty });
      await ada.api("ContactService/AddContacts", { owner: ada.address, contacts: [{ address: mallory.address, name: nasty, note: nasty, groups: [group.id] }] });
      await ada.api("ContactService/AddContacts", { owner: ada.address, contacts: [{ address: "javascript:window.__pwned=1", name: "link" }] }).then(
        () => must(false, "a script is no address"),
        (error) => must(error.status < 500, `a script as address: ${error.message}`),
      );

      const one = await world.enter(ada);
      const { page } = one;
      const clean = async (where) => {
        const found = await intruders(page);
        must(found.length === 0, `${where}: ${found.join("\n")}`);
        must(!(await page.evaluate(() => "__pwned" in globalThis)), `${where}: something ran`);
      };
      await page.getByRole("link", { name: /onerror/ }).first().waitFor();
      await clean("the list");
      await page.getByRole("link", { name: /onerror/ }).first().click();
      for (const text of evil.filter((text) => !text.startsWith("`"))) await said(page, text).first().waitFor();
      await said(page, "harm").first().waitFor();
      await clean("the conversation");
      for (const link of await log(page).locator("a.m-link").all()) {
        const where = await link.evaluate((element) => element.protocol);
        must(["http:", "https:", "sip:", "sips:", "mailto:", "tel:"].includes(where), `a link to ${where}`);
      }
      // A file that says it is something else is fetched, never shown as a page of this server.
      const { messages } = await ada.api("ConversationService/ListMessages", { conversation: mallory.address });
      for (const { file } of messages.filter((m) => m.file)) {
        const answer = await page.request.get(world.url + file.url);
        const { "content-disposition": way = "", "x-content-type-options": sniff, "content-security-policy": policy = "" } = answer.headers();
        must(answer.ok() && sniff === "nosniff", `${file.name}: ${answer.status()} ${sniff}`);
        must(way.startsWith("attachment") || /sandbox|default-src 'none'/.test(policy), `${file.name}: ${way} ${policy}`);
        must(!/^text\/html|svg/.test(answer.headers()["content-type"]) || way.startsWith("attachment"), `${file.name} is shown as ${answer.headers()["content-type"]}`);
      }
      await page.keyboard.press("Control+f");
      await page.getByRole("searchbox").fill("onerror");
      await page.locator("mark").first().waitFor();
      await clean("the search");
      await page.goto(`${world.url}/contacts`);
      await page.getByRole("heading", { name: /onerror/ }).waitFor();
      await clean("the contacts");
      for (const path of [`/c/${mallory.address}`, "/settings/privacy", "/search?q=%3Cimg%20src%3Dx%20onerror%3Dwindow.__pwned%3D1%3E",
        `/c/${encodeURIComponent(nasty)}`, "/m/javascript:window.__pwned=1", `/c/${mallory.address}?at=1&words=%3Cimg%20src%3Dx%3E`]) {
        await page.goto(world.url + path);
        await page.locator("h1:visible").first().waitFor();
        await clean(path);
      }
      await page.goto(world.url + talkPath(mallory));
      await said(page, "harm").first().waitFor();
      const details = page.getByRole("button", { name: "Details", exact: true }).first();
      if ((await details.getAttribute("aria-pressed")) === "false") await details.click();
      await page.getByText("javascript:window.__pwned=1").first().waitFor();
      await clean("the details");
      // While it comes in, it is announced and counted.
      await mallory.say(ada, `${nasty} live`);
      await said(page, "live").waitFor();
      await clean("what came in");
      one.complaints.splice(0, one.complaints.length, ...one.complaints.filter((line) => !/status of (400|404)/.test(line)));
      await world.leave(one);
    },

    async "what other people wrote to me, and their files, are not for a third"() {
      const [ada, ben] = world.pair();
      const mallory = world.person("Mallory");
      const { message } = await ada.say(ben, "between us");
      const file = await ada.upload(ben, "secret.txt", "text/plain", Buffer.from("secret"));
      await ada.say(ben, "", { file: file.id });
      const refused = async (what, attempt) =>
        attempt.then(
          () => must(false, `${what} was allowed`),
          (error) => must([400, 403, 404].includes(error.status), `${what}: ${error.message}`),
        );
      await refused("reading", mallory.api("ConversationService/GetMessage", { id: message.id }));
      await refused("reacting", mallory.api("MessageService/React", { id: message.id, emoji: "👍" }));
      await refused("editing", mallory.api("MessageService/Edit", { id: message.id, text: "changed" }));
      await refused("editing by the other side", ben.api("MessageService/Edit", { id: message.id, text: "changed" }));
      await refused("deleting by the other side", ben.api("MessageService/Retract", { id: message.id }));
      const one = await world.enter(mallory);
      must([403, 404].includes((await one.page.request.get(world.url + file.url)).status()), "the file");
      await one.page.goto(`${world.url}/m/${message.id}`);
      await one.page.getByText("This message is not there").waitFor();
      const foreign = await one.context.request.post(`${world.url}/parley.v1.MessageService/Send`, {
        headers: { origin: "https://evil.example" },
        data: { conversation: ada.address, text: "from elsewhere" },
      });
      must(foreign.status() === 403, `a foreign page: ${foreign.status()}`);
      one.complaints.length = 0; // the message that is not there
      await world.leave(one);
    },

    async "text that runs from right to left turns nothing else around"() {
      const [ada] = world.pair();
      const trudy = world.person("Trudy");
      await trudy.say(ada, "\u202eevil text");
      await trudy.say(ada, "שלום עולם (hello) 123");
      await trudy.say(ada, "see https://example.org/\u202egnp.exe now");
      const file = await trudy.upload(ada, "photo\u202egnp.exe", "application/octet-stream", Buffer.from("MZ"));
      await trudy.say(ada, "", { file: file.id });
      const one = await world.enter(ada, talkPath(trudy));
      await said(one.page, "evil text").first().waitFor();
      await log(one.page).getByRole("link", { name: /exe/ }).last().waitFor();
      must((await said(one.page, "שלום").locator("[dir=auto]").first().evaluate((e) => getComputedStyle(e).direction)) === "rtl", "Hebrew runs from the right");
      const turned = await one.page.evaluate(() => {
        const out = [];
        const forwards = (element) => {
          const text = document.createTreeWalker(element, NodeFilter.SHOW_TEXT).nextNode();
          if (!text || text.length < 2) return true;
          const place = (at) => {
            const range = document.createRange();
            range.setStart(text, at);
            range.setEnd(text, at + 1);
            return range.getBoundingClientRect().left;
          };
          return place(0) < place(1);
        };
        for (const element of document.querySelectorAll("[role=log] time, .m-file-size, .row-time, .talk-state")) {
          if (!forwards(element)) out.push(element.outerHTML);
        }
        for (const element of document.querySelectorAll(".m-link, .m-file-name, .m-who")) {
          if (!element.closest("bdi") && !element.querySelector("bdi")) out.push(`not isolated: ${element.outerHTML}`);
        }
        return out;
      });
      must(turned.length === 0, turned.join("\n"));
      await composer(one.page).fill("שלום");
      await until("what is written runs as it is written", () => composer(one.page).evaluate((field) => getComputedStyle(field).direction === "rtl"));
      await composer(one.page).fill("");
      await world.leave(one);
    },
  };
}
