import { chromium } from "playwright-core";
const B="http://127.0.0.1:4321";
const b=await chromium.launch({executablePath:"/usr/bin/chromium",args:["--no-sandbox","--disable-gpu"]});
const p=await (await b.newContext({viewport:{width:1280,height:900}})).newPage();
await p.goto(B+"/admin/login/?next=/admin/");await p.fill("#id_username","root");await p.fill("#id_password","root");await p.click("[type=submit]");
await p.goto(B+process.argv[2]);
console.log(await p.evaluate(()=>[...document.querySelectorAll("*")].filter(e=>getComputedStyle(e).backgroundColor==="rgb(65, 118, 144)"||getComputedStyle(e).backgroundColor==="rgb(65, 118, 145)"||/rgb\(6\d, 1[01]\d, 14\d\)/.test(getComputedStyle(e).backgroundColor)).map(e=>e.tagName+"."+e.className+"#"+e.id+" "+JSON.stringify(e.getBoundingClientRect().toJSON())).join("\n")));
await b.close();
