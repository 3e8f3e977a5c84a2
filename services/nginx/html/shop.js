// The shop: the catalogue, an order, and which instance answered. It uses nothing but the API (/api/...).
"use strict";

const SECONDS = 10;
const SHOWN_ANSWERS = 12;
const byId = (id) => document.getElementById(id);
const money = new Intl.NumberFormat("en", { minimumFractionDigits: 2, maximumFractionDigits: 2 });

/** What the customer reads when a request fails, by the status of the answer; 0: there was none. */
const PROBLEMS = {
  0: "The shop cannot be reached. Is your connection up?",
  404: "There is no such order.",
  409: "This order was changed after it was sent. Please send it again.",
  413: "The order is too long.",
  429: "Too many requests at once. Please wait a second and try again.",
  503: "The shop cannot answer just now. Please try again in a moment.",
};
const FIELDS = { customer_id: "customer", product_id: "product", quantity: "quantity", total_price: "quantity" };

class ShopError extends Error {
  constructor(status, field = "") {
    super(PROBLEMS[status] ?? (status >= 500 ? PROBLEMS[503] : "The shop does not accept this."));
    this.status = status;
    this.field = field;
  }
}

/** Ask the API; return its JSON, or throw a ShopError in words for the customer. */
async function ask(path, options = {}) {
  let answer;
  try {
    answer = await fetch(path, { cache: "no-store", signal: AbortSignal.timeout(SECONDS * 1000), ...options });
  } catch {
    throw new ShopError(0);
  }
  const body = await answer.json().catch(() => ({}));
  if (!answer.ok) throw new ShopError(answer.status, FIELDS[body.field]);
  return body;
}

function element(name, text = "", attributes = {}) {
  const made = Object.assign(document.createElement(name), attributes);
  made.textContent = text;
  return made;
}

function showProblem(id, text = "") {
  byId(id).textContent = text;
  byId(id).hidden = !text;
}

// --- the catalogue -----------------------------------------------------------------------------------------------

let products = [];
const answers = [];

async function showCatalogue() {
  byId("again").disabled = true;
  try {
    const { instance, products: found } = await ask("/api/products");
    showProblem("catalogue-problem");
    showAnswer(instance);
    showProducts(found);
  } catch (problem) {
    showProblem("catalogue-problem", problem.message);
  } finally {
    byId("catalogue").setAttribute("aria-busy", "false");
    byId("again").disabled = false;
  }
}

function showProducts(found) {
  products = found;
  byId("catalogue").replaceChildren(
    ...found.map((product) => {
      const card = element("li");
      card.append(
        element("h3", product.name),
        element("span", money.format(product.price), { className: "price" }),
        element("span", product.stock ? `${product.stock} in stock` : "sold out", { className: "stock" }),
      );
      return card;
    }),
  );
  const select = byId("order").elements.product;
  const chosen = select.value;
  select.replaceChildren(...found.map(({ id, name }) => element("option", name, { value: id })));
  if (found.some(({ id }) => id === chosen)) select.value = chosen;
  showTotal();
}

/** Show an instance's number in its colour: with round robin the numbers follow each other. */
function showAnswer(instance) {
  answers.push(instance);
  answers.splice(0, answers.length - SHOWN_ANSWERS);
  byId("instance").textContent = instance;
  byId("answers").replaceChildren(
    ...answers.map((name) => {
      const number = /\d+$/.exec(name)?.[0] ?? name.slice(0, 2);
      const mark = element("li", number, { title: name });
      mark.style.setProperty("--hue", String((Number.parseInt(number, 10) * 137 + 73) % 360 || 210));
      return mark;
    }),
  );
}

// --- an order ----------------------------------------------------------------------------------------------------

/** The key that makes a repeated order the same order; a new one for each order that was stored. */
let key = newKey();

function newKey() {
  return [...crypto.getRandomValues(new Uint8Array(16))].map((byte) => byte.toString(16).padStart(2, "0")).join("");
}

function readOrder() {
  const { product, quantity, customer } = byId("order").elements;
  const chosen = products.find(({ id }) => id === product.value);
  const pieces = Number(quantity.value);
  const problems = {
    product: chosen ? "" : "Please choose a product.",
    quantity: Number.isInteger(pieces) && pieces >= 1 ? "" : "Please enter how many: a whole number, at least 1.",
    customer: customer.value.trim() ? "" : "Please enter your name.",
  };
  return { chosen, pieces, customer: customer.value.trim(), problems };
}

function showTotal() {
  const { chosen, pieces } = readOrder();
  byId("total").textContent = chosen && pieces >= 1 ? money.format(chosen.price * pieces) : "–";
}

function markInvalid(wrong) {
  for (const field of byId("order").elements) field.setAttribute("aria-invalid", String(wrong.includes(field.name)));
  if (wrong.length) byId("order").elements[wrong[0]].focus();
}

async function placeOrder(event) {
  event.preventDefault();
  const { chosen, pieces, customer, problems } = readOrder();
  const wrong = Object.keys(problems).filter((name) => problems[name]);
  markInvalid(wrong);
  showProblem("order-problem", wrong.map((name) => problems[name]).join(" "));
  if (wrong.length) return;
  const button = byId("order").querySelector("button");
  button.disabled = true;
  byId("receipt").hidden = true;
  try {
    const { order_id: number } = await ask("/api/orders", {
      method: "POST",
      headers: { "Content-Type": "application/json", "Idempotency-Key": key },
      body: JSON.stringify({
        customer_id: customer,
        product_id: chosen.id,
        quantity: pieces,
        total_price: chosen.price * pieces,
      }),
    });
    key = newKey();
    await showReceipt(number);
  } catch (problem) {
    markInvalid(problem.field ? [problem.field] : []);
    const again = problem.status === 0 || problem.status >= 500 ? " Sending it again does not order twice." : "";
    if (problem.status === 409) key = newKey();
    showProblem("order-problem", problem.message + again);
  } finally {
    button.disabled = false;
  }
}

async function showReceipt(number) {
  try {
    await showOrder(number, "receipt", "Thank you! The shop has stored your order:");
  } catch {
    byId("receipt").textContent = `Thank you! Your order ${number} is stored; it cannot be shown just now.`;
    byId("receipt").hidden = false;
  }
}

/** Read an order back and show it: what is shown is what is stored. */
async function showOrder(number, place, title) {
  const order = await ask(`/api/orders/${encodeURIComponent(number)}`);
  const name = products.find(({ id }) => id === order.product_id)?.name ?? `product ${order.product_id}`;
  const list = element("dl");
  for (const [term, text] of [
    ["Order", String(order.id)],
    ["Customer", order.customer_id],
    ["Product", `${order.quantity} × ${name}`],
    ["Total", money.format(order.total_price)],
    ["Stored at", order.created_at.replace("T", " ").replace(/\..*/, "")],
  ]) {
    list.append(element("dt", term), element("dd", text));
  }
  byId(place).replaceChildren(element("span", title), list);
  byId(place).hidden = false;
}

async function findOrder(event) {
  event.preventDefault();
  const number = byId("find").elements.number.value.trim();
  byId("found").hidden = true;
  showProblem("find-problem", /^\d+$/.test(number) ? "" : "Please enter the number of an order.");
  if (!byId("find-problem").hidden) return;
  try {
    await showOrder(number, "found", "This is what is stored:");
  } catch (problem) {
    showProblem("find-problem", problem.message);
  }
}

byId("again").addEventListener("click", showCatalogue);
byId("order").addEventListener("submit", placeOrder);
byId("order").addEventListener("input", showTotal);
byId("find").addEventListener("submit", findOrder);
showCatalogue();
