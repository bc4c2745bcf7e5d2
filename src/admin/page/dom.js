// Elements of the page. Texts become text nodes: a model's name is never read as markup.

import { svg } from './charts.js';

/** An element of HTML. */
export function element(name, attributes = {}, ...children) {
  const made = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) {
    if (value !== undefined && value !== null) made.setAttribute(key, value);
  }
  made.append(...children);
  return made;
}

export const byId = (id) => document.getElementById(id);

/** Replaces the content, unless somebody selects text in it. */
export function replace(target, ...children) {
  const selection = document.getSelection();
  if (selection && !selection.isCollapsed && target.contains(selection.anchorNode)) return;
  target.replaceChildren(...children);
}

/** Sets a text only if it changes. */
export function setText(target, content) {
  if (target.textContent !== content) target.textContent = content;
}

async function copy(content) {
  // Browsers have a clipboard only for pages that are local or encrypted.
  if (navigator.clipboard && window.isSecureContext) return navigator.clipboard.writeText(content);
  const area = element('textarea', { class: 'offscreen' });
  area.value = content;
  document.body.append(area);
  area.select();
  document.execCommand('copy');
  area.remove();
}

/** Two sheets of paper. */
function copyIcon() {
  return svg('svg', { width: 11, height: 11, viewBox: '0 0 11 11', 'aria-hidden': 'true' },
    svg('path', { d: 'M3.5,3.5h7v7h-7zM7.5,3V0.5h-7v7H3', class: 'icon' }));
}

/** A small button that copies the PromQL of a number. */
export function promqlButton(query, what) {
  const button = element('button', {
    class: 'copy', type: 'button', title: `Copy PromQL:\n${query}`, 'aria-label': `Copy the PromQL of ${what}`,
  }, copyIcon());
  button.addEventListener('click', async () => {
    await copy(query);
    button.replaceChildren('copied');
    setTimeout(() => button.replaceChildren(copyIcon()), 1200);
  });
  return button;
}
