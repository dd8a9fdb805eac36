// The map of images: which point is which, by pointer and by keyboard; names of classes where their images lie.
(() => {
  const map = document.getElementById("image-map");
  if (!map) return;
  const data = JSON.parse(document.getElementById("data").textContent);
  const MOST_LABELS = 30;
  const circles = [...map.querySelectorAll("circle")];
  const points = data.map.map(([x, y, truth, named, confidence, item, picture], index) => (
    { x, y, truth, named, confidence, item, picture, circle: circles[index] }
  ));
  const chooser = document.getElementById("map-class");
  const readout = document.getElementById("map-readout");
  const frame = document.getElementById("map-picture");
  let current = null;

  const element = (name, text, css) => {
    const made = document.createElement(name);
    if (text !== undefined) made.textContent = text;
    if (css) made.className = css;
    return made;
  };
  const shown = () => points.filter((point) => chooser.value === "" || point.truth === Number(chooser.value));

  function tell(point) {
    const right = point.truth === point.named;
    const share = `${(point.confidence * 100).toFixed(1)}\u202f%`;
    readout.replaceChildren(element("bdi", data.classes[point.truth], right ? "" : "truth"));
    if (!right) readout.append(" taken for ", element("bdi", data.classes[point.named], "taken"));
    readout.append(` at ${share}`, element("bdi", point.item, "file"));
    const image = element("img");
    const row = data.gallery[point.picture];
    if (row) Object.assign(image, { src: row[4], width: 96, height: 96, alt: `Image of class ${data.classes[point.truth]}` });
    frame.replaceChildren(...(row ? [image] : []));
  }
  function moveTo(point) {
    if (!point || point === current) return;
    if (current) current.circle.classList.remove("current");
    current = point;
    point.circle.classList.add("current");
    tell(point);
  }

  const nearest = (x, y, reach) => {
    let best = null;
    let least = reach * reach;
    for (const point of shown()) {
      const distance = (point.x - x) ** 2 + (point.y - y) ** 2;
      if (distance < least) [best, least] = [point, distance];
    }
    return best;
  };
  const place = (event) => {
    const at = new DOMPoint(event.clientX, event.clientY).matrixTransform(map.getScreenCTM().inverse());
    return [at.x, at.y];
  };
  map.addEventListener("pointermove", (event) => moveTo(nearest(...place(event), 16)));
  map.addEventListener("pointerdown", (event) => moveTo(nearest(...place(event), 40)));

  // The next image in a direction: the closest one, those aside counting as further away.
  const towards = (right, down) => {
    let best = null;
    let least = Infinity;
    for (const point of shown()) {
      const ahead = (point.x - current.x) * right + (point.y - current.y) * down;
      const aside = Math.abs((point.x - current.x) * down) + Math.abs((point.y - current.y) * right);
      const cost = ahead + 2 * aside;
      if (point !== current && ahead > 0 && aside <= 2 * ahead && cost < least) [best, least] = [point, cost];
    }
    return best;
  };
  map.addEventListener("keydown", (event) => {
    const step = { ArrowUp: [0, -1], ArrowDown: [0, 1], ArrowLeft: [-1, 0], ArrowRight: [1, 0] }[event.key];
    if (!step) return;
    event.preventDefault();
    const box = map.viewBox.baseVal;
    moveTo(current && shown().includes(current) ? towards(...step) : nearest(box.width / 2, box.height / 2, Infinity));
  });

  chooser.addEventListener("change", () => {
    map.classList.toggle("one-class", chooser.value !== "");
    for (const point of points) point.circle.classList.toggle("chosen", String(point.truth) === chooser.value);
    labels();
  });

  const middle = (values) => values.sort((a, b) => a - b)[Math.floor(values.length / 2)];
  function labels() {
    const layer = document.getElementById("map-labels");
    layer.replaceChildren();
    const classes = chooser.value === "" ? data.classes.map((_, index) => index) : [Number(chooser.value)];
    if (classes.length > MOST_LABELS) return;
    const box = map.viewBox.baseVal;
    for (const index of classes) {
      const own = points.filter((point) => point.truth === index);
      if (!own.length) continue;
      const label = element("span");
      label.append(element("bdi", data.classes[index]));
      label.style.left = `${(middle(own.map((point) => point.x)) / box.width) * 100}%`;
      label.style.top = `${(middle(own.map((point) => point.y)) / box.height) * 100}%`;
      layer.append(label);
    }
  }
  labels();
})();
