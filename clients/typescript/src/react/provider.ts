/** Which FleetLM the hooks below it use. */
import { createContext, createElement, useContext, type ReactElement, type ReactNode } from "react";
import type { FleetLM } from "../fleet.js";

const Context = createContext<FleetLM | null>(null);

/** Give the components below it a client. Make that once, outside of rendering, and close it when the page is done with it. */
export function FleetLMProvider({ fleet, children }: { fleet: FleetLM; children?: ReactNode }): ReactElement {
  return createElement(Context.Provider, { value: fleet }, children);
}

/** The client of the nearest `FleetLMProvider`; throws where there is none. */
export function useFleetLM(): FleetLM {
  const fleet = useContext(Context);
  if (fleet === null) throw new Error("useFleetLM: there is no <FleetLMProvider> above this component.");
  return fleet;
}
