// The token is taken out of the address at once, so that it is not copied or
// kept in the history, and is sent only when the person presses the button.
const token = new URLSearchParams(location.hash.slice(1)).get("token") || "";
history.replaceState(null, "", location.pathname);

const form = document.querySelector("form");
const status = document.querySelector("[role=status]");

function say(text, bad) {
  status.textContent = text;
  status.className = bad ? "bad" : "";
}

async function post(path, body) {
  const res = await fetch("/v1" + path, { method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify(body) });
  const answer = await res.json().catch(() => ({}));
  if (!res.ok) throw new Error(answer.error ? answer.error.message : "The server did not answer as expected. Try again.");
  return answer;
}

for (const el of document.querySelectorAll("[data-origin]")) el.textContent = location.origin + el.dataset.origin;

if (form) {
  if (!token) {
    say("This link is incomplete. Open it from the mail again, whole.", true);
    form.querySelector("button").disabled = true;
  }
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    const button = form.querySelector("button");
    button.disabled = true;
    const body = { ...Object.fromEntries(new FormData(form)), [form.dataset.token || "token"]: token };
    try {
      await post(form.dataset.path, body);
      form.hidden = true;
      say(form.dataset.done);
    } catch (err) {
      say(err.message, true);
      button.disabled = false;
    }
  });
}
