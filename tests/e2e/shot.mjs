import { chromium } from "playwright-core";
const B="http://127.0.0.1:4321", out=process.argv[2], scheme=process.argv[3]||"light", only=process.argv.slice(4);
const b=await chromium.launch({executablePath:"/usr/bin/chromium",args:["--no-sandbox","--disable-gpu"]});
const c=await b.newContext({viewport:{width:1280,height:900},colorScheme:scheme});
const p=await c.newPage();p.setDefaultTimeout(15000);
p.on("console",m=>m.type()==="error"&&console.log("CONSOLE",m.text()));
await p.goto(B+"/admin/login/?next=/admin/");await p.fill("#id_username","root");await p.fill("#id_password","root");await p.click("[type=submit]");
for(const o of only){const [n,u]=o.split("=>");const r=await p.goto(B+u);const w=await p.evaluate(()=>[document.documentElement.scrollWidth,innerWidth]);console.log(n,r.status(),w.join("/"));await p.screenshot({path:`${out}/${scheme}-${n}.png`,fullPage:true});}
await b.close();
