import "./list.css";
import "./message.css";
import "./composer.css";

export { MessageView } from "./view";
