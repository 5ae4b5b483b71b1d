'use strict';

// Every page works without this file, except for three things: copying, times in the reader's zone, and passkeys.

// Times: the server knows UTC only.
const zone = Intl.DateTimeFormat().resolvedOptions().timeZone;
// The server's month names: it writes September with three letters.
const formatter = parts => {
  const format = new Intl.DateTimeFormat('en-GB', { day: 'numeric', month: 'short', year: 'numeric', ...parts });
  return at => format.format(at).replace('Sept', 'Sep');
};
const dayOf = formatter({});
const exactly = formatter({ hour: '2-digit', minute: '2-digit', timeZoneName: 'short' });

for (const time of document.querySelectorAll('time[data-time]')) {
  const at = new Date(time.dateTime);
  if (time.dataset.time === 'exact') {
    time.textContent = exactly(at);
    continue;
  }
  time.title = exactly(at);
  time.lastElementChild.textContent = ` (${exactly(at)})`;
  if (time.dataset.time === 'date') time.firstElementChild.textContent = dayOf(at);
}
for (const option of document.querySelectorAll('option[data-until]')) {
  option.textContent = option.textContent.replace(/: .*/, `: ${dayOf(new Date(option.dataset.until))}`);
}
for (const hint of document.querySelectorAll('[data-zone]')) {
  if (zone) hint.textContent = `Times are in ${zone.replaceAll('_', ' ')}.`;
}

// Copying. The announcement is a live region of its own, because not every screen reader announces a changed button.
const announcement = document.createElement('p');
announcement.className = 'visually-hidden';
announcement.setAttribute('aria-live', 'polite');
document.body.append(announcement);

async function copy(element) {
  if (navigator.clipboard) {
    await navigator.clipboard.writeText(element.textContent);
    return;
  }
  // Without HTTPS there is no clipboard object.
  getSelection().selectAllChildren(element);
  if (!document.execCommand('copy')) throw new Error('not copied');
}

for (const button of document.querySelectorAll('button[data-copy]')) {
  button.hidden = false;
  const label = button.textContent;
  const isIcon = button.classList.contains('icon');
  let timer;
  button.addEventListener('click', async () => {
    const element = document.getElementById(button.dataset.copy);
    let said = 'Copied';
    try {
      await copy(element);
    } catch {
      getSelection().selectAllChildren(element);
      said = 'Not copied. It is selected: copy it with the keyboard';
    }
    announcement.textContent = said;
    if (said === 'Copied') button.classList.add('copied');
    if (!isIcon) button.textContent = said === 'Copied' ? said : label;
    clearTimeout(timer);
    timer = setTimeout(() => {
      button.classList.remove('copied');
      if (!isIcon) button.textContent = label;
      announcement.textContent = '';
    }, 4000);
  });
}

// Passkeys: the browser gets the server's challenge, and the form returns its response. Without passkeys the form stays hidden.
for (const form of document.querySelectorAll('form[data-passkey-get], form[data-passkey-create]')) {
  const isNew = 'passkeyCreate' in form.dataset;
  if (!window.PublicKeyCredential?.[isNew ? 'parseCreationOptionsFromJSON' : 'parseRequestOptionsFromJSON']) continue;
  form.hidden = false;
  for (const notice of document.querySelectorAll('[data-no-passkeys]')) notice.hidden = true;
  form.addEventListener('submit', async event => {
    event.preventDefault();
    const [button, error] = [form.querySelector('button'), form.querySelector('.error[role=alert]')];
    [button.disabled, error.hidden] = [true, true];
    try {
      const credential = isNew
        ? await navigator.credentials.create({ publicKey: PublicKeyCredential.parseCreationOptionsFromJSON(JSON.parse(form.dataset.passkeyCreate)) })
        : await navigator.credentials.get({ publicKey: PublicKeyCredential.parseRequestOptionsFromJSON(JSON.parse(form.dataset.passkeyGet)) });
      form.elements.Credential.value = JSON.stringify(credential.toJSON());
      form.submit(); // submits without the event
    } catch {
      [button.disabled, error.hidden] = [false, false];
    }
  });
}

// Focuses what the reader must see first: a summary of errors, a new key, the safe choice of a dialog.
document.querySelector('[data-focus]')?.focus();

// A browser may cache a page that was left and show it again, so its secret is removed.
addEventListener('pagehide', () => {
  for (const secret of document.querySelectorAll('[data-secret]')) {
    secret.textContent = secret.dataset.secret || 'The key is no longer shown. If you did not save it, delete it and generate another.';
  }
});

// A notice is shown once: reloading does not repeat it.
if (document.querySelector('[data-passing]')) history.replaceState(null, '', location.pathname);

// Scrolls to the current organization when the switcher opens.
for (const switcher of document.querySelectorAll('.switcher')) {
  switcher.addEventListener('toggle', () => switcher.querySelector('li [aria-current]')?.scrollIntoView({ block: 'nearest' }));
}

// Menus close on Escape and on a click outside.
addEventListener('click', event => {
  for (const menu of document.querySelectorAll('.switcher[open], .bar-menu[open]')) {
    if (!menu.contains(event.target)) menu.open = false;
  }
});
addEventListener('keydown', event => {
  if (event.key !== 'Escape') return;
  const menu = document.activeElement?.closest('details[open]:is(.switcher, .bar-menu)');
  if (!menu) return;
  menu.open = false;
  menu.querySelector('summary').focus();
});
