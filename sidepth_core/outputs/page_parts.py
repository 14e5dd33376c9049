"""Style and script that every page has inside."""

STYLE = """
body{font:15px/1.45 system-ui,sans-serif;max-width:1280px;margin:0 auto;padding:12px 20px 40px;color:#1d2127}
h1{font-size:22px;margin:8px 0}h2{font-size:18px;margin:26px 0 6px;border-bottom:1px solid #d8dce2;padding-bottom:3px}
figure{margin:10px 0}img{max-width:100%;display:block}figcaption{color:#555c66;font-size:13px;margin-top:3px}
table{border-collapse:collapse;margin:8px 0;font-variant-numeric:tabular-nums}
td,th{padding:3px 14px 3px 0;text-align:left;border-bottom:1px solid #e6e9ee;vertical-align:top}
td.number{text-align:right}td{white-space:pre-line}
.slider div{position:relative}.slider div img{width:100%}.slider div img+img{position:absolute;inset:0}
.slider input{width:100%}.slider figcaption,.bar{display:flex;justify-content:space-between;gap:12px;align-items:center}
.bar{justify-content:flex-start;margin:6px 0}.bar input{flex:1}.cloud{height:560px;border:1px solid #d8dce2}
button{font:inherit;padding:2px 10px}
"""

SCRIPT = """
'use strict';
const data = JSON.parse(document.getElementById('data').textContent);
const bytes = text => Uint8Array.from(atob(text), letter => letter.charCodeAt(0));
const floats = text => new Float32Array(bytes(text).buffer);
const element = (kind, parent, values = {}) => parent.appendChild(Object.assign(document.createElement(kind), values));

function slide(figure) {
  const above = figure.querySelectorAll('div img')[1], handle = figure.querySelector('input');
  const move = () => { above.style.clipPath = `inset(0 0 0 ${handle.value}%)`; };
  handle.addEventListener('input', move);
  move();
}

function colours(cloud, byDepth) {
  if (byDepth) return floats(cloud.y);
  const rgb = bytes(cloud.rgb), found = new Array(cloud.count);
  for (let i = 0; i < cloud.count; i++) found[i] = `rgb(${rgb[3 * i]},${rgb[3 * i + 1]},${rgb[3 * i + 2]})`;
  return found;
}

function trace(cloud, byDepth, unit) {
  const marker = {size: 1.6, color: colours(cloud, byDepth)};
  if (byDepth) Object.assign(marker, {colorscale: 'Turbo', reversescale: true, showscale: true,
                                      colorbar: {title: {text: unit ? `forward, ${unit}` : 'forward'}}});
  return {type: 'scatter3d', mode: 'markers', marker, x: floats(cloud.x), y: floats(cloud.y), z: floats(cloud.z),
          hovertemplate: `right %{x:.2f}, forward %{y:.2f}, up %{z:.2f} ${unit}<extra></extra>`};
}

function layout(unit) {
  const title = name => ({title: {text: unit ? `${name}, ${unit}` : name}});
  return {margin: {l: 0, r: 0, t: 0, b: 0}, uirevision: 'kept',
          scene: {aspectmode: 'data', xaxis: title('right'), yaxis: title('forward'), zaxis: title('up'),
                  camera: {eye: {x: 0.2, y: -1.35, z: 0.5}, center: {x: 0, y: 0, z: -0.1}}}};
}

function show(place, viewer) {
  let current = 0, byDepth = false, figure = null;
  const bar = element('div', place, {className: 'bar'});
  if (viewer.frames.length > 1) {
    const label = element('span', bar), handle = element('input', bar, {type: 'range', min: 0, value: 0,
                                                                       max: viewer.frames.length - 1});
    const name = () => { label.textContent = `frame ${viewer.frames[current].name}`; };
    handle.addEventListener('input', () => { current = Number(handle.value); name(); draw(); });
    name();
  }
  const toggle = element('button', bar, {textContent: 'cloud: colours of the image / of the distance'});
  toggle.addEventListener('click', () => { byDepth = !byDepth; draw(); });
  if (viewer.frames[0].image) {
    figure = element('figure', place, {className: 'slider'});
    const both = element('div', figure);
    element('img', both); element('img', both);
    element('input', figure, {type: 'range', min: 0, max: 100, value: 50});
    const line = element('figcaption', figure);
    element('span', line, {textContent: 'image'}); element('span', line, {textContent: 'depth'});
    slide(figure);
  }
  const cloud = element('div', place, {className: 'cloud'});
  element('p', place, {textContent: 'Drag to turn, scroll to come nearer, drag with the right button to move.'});
  function draw() {
    const frame = viewer.frames[current];
    if (figure) {
      const [image, depth] = figure.querySelectorAll('img');
      image.src = frame.image; depth.src = frame.depth;
    }
    Plotly.react(cloud, [trace(frame.cloud, byDepth, viewer.unit)], layout(viewer.unit),
                 {responsive: true, displaylogo: false});
  }
  draw();
}

document.querySelectorAll('figure.slider').forEach(slide);
data.plots.forEach((plot, index) => Plotly.newPlot(`plot${index}`, plot.data, plot.layout,
                                                   {responsive: true, displayModeBar: false}));
data.viewers.forEach((viewer, index) => show(document.getElementById(`viewer${index}`), viewer));
document.body.dataset.ready = 'yes';
"""
